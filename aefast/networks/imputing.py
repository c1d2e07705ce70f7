"""Imputation by autoencoders fitted with missing="mask": fits, errors of hidden entries, a file.

All rows here are standardised: each column's observed entries have the mean 0 and the variance 1;
but those of columns of a mixed table whose distribution is not one of real numbers are not.
"""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from aefast._base import threads
from aefast._base.hidden_entries import Variables, random_mask
from aefast._base.saving import OBJECT, Tensor, check_entries
from aefast._base.types import Array
from aefast.networks.autoencoder import Autoencoder

HIDDEN_SHARE = 0.2  # of the observed entries of rows left out, whose errors are the deviations
N_FOLDS = 2
N_REPEATS = 5  # of hiding, each with other entries


class Options(NamedTuple):
    """What fits need besides rows and weights."""

    n_components: int | str
    n_threads: int | None
    random: np.random.RandomState  # of seeds and of hidden entries
    variables: Variables | None = None  # of mixed tables
    output: list | None = None  # of mixed tables


class NetworkImputation(NamedTuple):
    """Fitted autoencoders: the first is that of the rows, the others of bootstrap samples."""

    networks: list[Autoencoder]
    errors: Array  # (d,), root-mean-square errors of imputed entries in rows left out

    @classmethod
    def fitted(cls, rows: Array, weights: list[Array], options: Options) -> Self:
        """Fit an autoencoder for each array of weights."""
        errors = _errors_of_hidden(rows, weights[0], options)
        return cls([_fit(rows, weight, options) for weight in weights], errors)

    @property
    def n_iter(self) -> int:
        return self.networks[0].n_epochs_

    @property
    def n_components(self) -> int:
        return len(self.networks[0].components_)

    def means(self, rows: Array) -> Array:
        """Return rows whose missing entries are reconstructed."""
        return self.networks[0].impute(rows)

    def deviations(self, rows: Array) -> Array:
        """Return each column's error for missing entries, 0 for observed ones."""
        return np.where(np.isnan(rows), self.errors, 0.0)

    def draws(self, rows: Array, random: np.random.RandomState) -> Iterator[Array]:
        """Yield rows imputed by each bootstrap sample's network, normal errors added."""
        gaps = np.isnan(rows)
        for network in self.networks[1:]:
            noise = random.standard_normal(rows.shape) * self.errors
            yield np.where(gaps, network.impute(rows) + noise, rows)

    # ---- in a file ----

    def saved_state(self) -> list[dict[str, Any]]:
        return [
            {"parameters": network._saved_parameters(), "state": network._saved_state()}
            for network in self.networks
        ]

    def saved_tensors(self) -> dict[str, Array]:
        tensors = {"errors": self.errors}
        for number, network in enumerate(self.networks):
            named = network._saved_tensors().items()
            tensors |= {f"networks.{number}.{name}": array for name, array in named}
        return tensors

    @staticmethod
    def tensor_layout(states: list[dict[str, Any]], d: int) -> dict[str, Tensor]:
        """Return the layout of the arrays; ValueError where a state is not one of a network."""
        layout = {"errors": Tensor((d,), "F64")}
        for number, described in enumerate(states):
            check_entries("network", described, {"parameters": OBJECT, "state": OBJECT})
            state = described["state"]
            check_entries("state", state, Autoencoder._state_checks())
            if state["model"]["n_features"] != d:
                raise ValueError(
                    f"expected networks of {d} columns, got {state['model']['n_features']}"
                )
            if not state["fills"]:
                raise ValueError("expected networks that were fitted with missing entries")
            tensors = Autoencoder._tensor_layout(state)
            layout |= {f"networks.{number}.{name}": of for name, of in tensors.items()}
        return layout

    @classmethod
    def restored(cls, states: list[dict[str, Any]], tensors: dict[str, Array]) -> Self:
        """Return the networks in a file."""
        if not (tensors["errors"] >= 0).all():
            raise ValueError("expected no negative number in 'errors'")
        networks = []
        for number, described in enumerate(states):
            prefix = f"networks.{number}."
            network = Autoencoder._from_parameters(described["parameters"])
            own = {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
            network._restore(described["state"], own)
            network._check_restored()
            networks.append(network)
        return cls(networks, tensors["errors"])


def _fit(rows: Array, weight: Array, options: Options) -> Autoencoder:
    network = Autoencoder(
        options.n_components,
        output="gaussian" if options.output is None else options.output,
        missing="mask",
        n_threads=options.n_threads,
        random_state=int(options.random.randint(2**31)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(rows, sample_weight=weight)


@threads.with_same_bits
def _errors_of_hidden(rows: Array, weight: Array, options: Options) -> Array:
    """Return root-mean-square errors (d,) of hidden entries in rows that a fit has not seen.

    Where a column has no hidden entry, its error is that of all columns.
    """
    squares, counts = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    of_fold = options.random.permutation(len(rows)) % N_FOLDS
    for fold in range(N_FOLDS):
        train, test = (of_fold != fold), (of_fold == fold)
        seen = ~np.isnan(rows[train])
        if not (seen.any(axis=0).all() and test.any()):
            train = np.ones(len(rows), bool)  # too few rows to leave some out
        network = _fit(rows[train], weight[train], options)
        held, w = rows[test], weight[test]
        for _ in range(N_REPEATS if len(held) else 0):
            mask = random_mask(held.shape, HIDDEN_SHARE, options.random, options.variables)
            hidden = ~np.isnan(held) & mask
            filled = network.impute(np.where(hidden, np.nan, held))
            squares += w @ np.where(hidden, np.square(filled - held), 0.0)
            counts += w @ hidden
    overall = squares.sum() / counts.sum() if counts.any() else 1.0
    return np.sqrt(np.where(counts > 0, squares / np.where(counts > 0, counts, 1.0), overall))

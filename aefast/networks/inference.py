"""Methods of fitted networks: codes, reconstructions, losses, likelihoods and samples of rows."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.by_parts import takes_streams
from aefast._base.errors import shown, table_name
from aefast._base.float_range import mean_of
from aefast._base.given_results import GivenResults, into
from aefast._base.random import random_state_of
from aefast._base.sparse_rows import SparseRows
from aefast._base.types import Array, PathLike, RandomState, Reals
from aefast.networks.fitted import FittedState
from aefast.networks.likelihoods import log_likelihoods, sample_of_outputs
from aefast.networks.one_pass import LOSSES, as_type, one_pass, overflow_error
from aefast.networks.outputs import is_of_nonnegative, leaves_terms_out, plain_output
from aefast.networks.training.gaps import FEEDBACKS, feeds_back
from aefast.networks.variants import (
    PLAIN,
    check_corruption,
    is_corrupted,
    noise_extremes,
    rows_variant,
)

SLICE_ENTRIES = 1 << 22  # of dense reconstructions that exist at a time


def _above(rows, threshold):
    """Return entries of dense rows whose absolute value exceeds a threshold, as a CSR matrix."""
    return sparse.csr_matrix(np.where(np.abs(rows) > threshold, rows, 0))


class NetworkInference(GivenResults, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of an estimator whose `_state` holds a network and its flat parameters."""

    _fitted_state: Callable[[], FittedState]

    @takes_streams
    def transform(self, X: ArrayLike, *, out: Array | PathLike | None = None) -> Reals:
        """Return the codes ``H = g(X Wᵀ + b)``, which lie in (0, 1) for the sigmoid.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        H : ndarray (n_samples, n_components)
            The type is float32 for float32, uint8 and bool input and float64 otherwise, as in the
            other methods.
        """
        rows, state = self._checked(X)
        return into(out, rows, lambda part: self._one_pass(part, state, "codes"))

    def inverse_transform(self, H: ArrayLike) -> Reals:
        """Return the means ``X̂ = o(H W* + c)`` of p(x | h).

        Parameters
        ----------
        H : array-like (n_samples, n_components)

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        state = self._fitted_state()
        means = self._decode(H, state, state.model)
        return (
            means
            if state.scaling is None
            else state.scaling.restore_units(means, table_name(None, self), self.n_threads)
        )

    @takes_streams
    def reconstruct(
        self, X: ArrayLike, threshold: float | None = None, *, out: Array | PathLike | None = None
    ) -> Any:
        """Compute ``inverse_transform(transform(X))`` in one pass.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        threshold : float or None, default=None
            Return the entries of absolute value above this number alone, in a sparse matrix. Dense
            reconstructions exist of some rows at a time then.
        out : ndarray, path or None, default=None
            As for `transform`; not with a threshold.

        Returns
        -------
        X_hat : ndarray or csr_matrix (n_samples, n_features)
        """
        rows, state = self._checked(X)
        if threshold is None:
            return into(out, rows, lambda part: self._one_pass(part, state, "reconstructions"))
        if out is not None:
            raise ValueError("out cannot hold the sparse matrix of a threshold: give one of them")
        scalars.check_number(threshold, "threshold")
        parts = [_above(part, float(threshold)) for part in self._reconstructions(rows, state)]
        return sparse.vstack(parts, format="csr")

    def reconstruct_slices(self, X: ArrayLike, n_rows: int | None = None) -> Iterator[Reals]:
        """Yield reconstructions of X, some rows at a time, in order.

        All of them together may not fit into memory where X is sparse.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        n_rows : int or None, default=None
            Rows in a slice. None: as many as have some 4 million entries.

        Returns
        -------
        slices : iterator of ndarray (n_rows, n_features)
            The last slice may have fewer rows.
        """
        if n_rows is not None and scalars.as_integer(n_rows, "n_rows") < 1:
            raise ValueError(f"n_rows must be at least 1, got {n_rows}")
        rows, state = self._checked(X)
        return self._reconstructions(rows, state, n_rows)

    def _reconstructions(self, rows, state, step=None):
        step = step or max(1, SLICE_ENTRIES // rows.shape[1])
        for first in range(0, len(rows), step):
            yield self._one_pass(
                rows[first : first + step], state, "reconstructions", first_row=first
            )

    @takes_streams
    def reconstruction_error(self, X: ArrayLike, per_feature: bool = False) -> Reals:
        """Return the training loss of each row (in nats, without constants and penalties).

        Losses are those of the scaled columns (see `scale`), so that columns of different units
        compare; `score_samples` is in the units of X.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        per_feature : bool, default=False
            Return the loss of each entry instead of the sum over each row.

        Returns
        -------
        loss : ndarray (n_samples,) or (n_samples, n_features)
        """
        per_feature = scalars.as_flag(per_feature, "per_feature")
        rows, state = self._checked(X)
        return self._losses(rows, state, "feature_losses" if per_feature else "row_losses")

    @takes_streams
    def score_samples(
        self, X: ArrayLike, per_feature: bool = False, *, out: Array | PathLike | None = None
    ) -> Reals:
        """Return ``log p(x | μ(h(x)))`` of each row, in nats, constants included.

        For "gaussian" this is ``−½ ‖x̂ − x‖² − (d/2) log 2π``, for "bernoulli" minus the
        cross-entropy, which is not the logarithm of a density for values strictly between 0 and 1.
        With scaled columns it is the density in the units of X: that of the scaled entries, divided
        by their scales. It is no marginal likelihood, because the code h(x) is computed from x.
        Missing entries contribute nothing. Distributions with terms in x alone, as ``log x!`` of
        counts, are computed in float64, and rounded at the end if X is float32.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        per_feature : bool, default=False
            Return the contribution of each entry, so that columns of different types can be
            compared. The contribution of a categorical or multinomial group, which has one
            distribution, is in the group's first column; the others are 0.
        out : ndarray, path or None, default=None
            As for `transform`.

        Returns
        -------
        log_likelihood : ndarray (n_samples,) or (n_samples, n_features)
        """
        per_feature = scalars.as_flag(per_feature, "per_feature")
        rows, state = self._checked(X)
        return into(out, rows, lambda part: self._log_likelihoods(part, state, per_feature))

    def _log_likelihoods(self, rows, state, per_feature):
        output, missing = state.model.output, state.fill is not None
        whole, kind = leaves_terms_out(output), check.real_type(rows.dtype)
        losses = self._losses(
            rows, state, "feature_losses" if per_feature else "row_losses", whole=whole
        )
        log_p = log_likelihoods(output, rows, losses, per_feature, missing, state.scaling)
        name = table_name(None, self)
        return as_type(log_p, kind, name, "a log-likelihood")

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean of `score_samples`; greater is better.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,) or None, default=None

        Returns
        -------
        log_likelihood : float
        """
        scores = self.score_samples(X)
        weight = check.as_mean_weight(sample_weight, len(scores))
        return mean_of(scores, weight)

    def sample_output(self, H: ArrayLike, random_state: RandomState | None = None) -> Reals:
        """Draw a row x from p(x | μ(h)) for each code.

        Parameters
        ----------
        H : array-like (n_samples, n_components)
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : ndarray (n_samples, n_features)
            A multinomial group has one trial in each row.

        Raises
        ------
        FloatingPointError
            If a draw overflows the type of X, as where the mean of a count does.
        """
        return self._sample(H, self._fitted_state(), random_state)

    def _sample(self, H, state, random_state):
        bottom, flat = state.model.layer_views(state.parameters)[0]
        # a Gaussian's mean is the pre-activation itself
        eta = self._decode(H, state, state.model.with_output(plain_output("gaussian")))
        seed = random_state_of(random_state).randint(np.iinfo(np.int64).max, dtype=np.int64)
        # a Generator draws the multinomial numbers of all rows at once; a RandomState does not
        random = np.random.default_rng(seed)
        x = sample_of_outputs(state.model.output, eta, bottom.split(flat).theta, random)
        return (
            x if state.scaling is None else state.scaling.restore_units(x, table_name(None, self))
        )

    def _decode(self, H, state, model):
        H = check.as_rows(H, "H")
        if H.shape[1] != model.n_components:
            raise ValueError(
                f"H must have {model.n_components} columns, one for each component, got shape "
                f"{H.shape}"
            )
        parameters = state.views if model is state.model else model.split(state.parameters)
        options = {"name": "H", "from_codes": True, "n_threads": self.n_threads}
        out = one_pass(model, parameters, H, "reconstructions", **options)
        return as_type(out, check.real_type(H.dtype), "H")

    def _checked(self, X):
        """Return the rows of X, and the state that a method reads once.

        Another thread may fit the estimator meanwhile: kernels compare rows and state.
        """
        state = self._fitted_state()
        absent_missing = self.sparse_means == "missing"
        rows = check.sparse_or_dense_rows(self, X, reset=False, absent_missing=absent_missing)
        if absent_missing and isinstance(rows, SparseRows) and state.fill is None:
            raise ValueError(
                "sparse_means='missing' needs a fit with missing entries: this estimator was "
                "fitted to complete rows"
            )
        return rows, state

    def _one_pass(self, rows, state, result, *, whole=False, first_row=0):
        """Return one of one_pass.RESULTS, in the type of the rows; in float64 where `whole`.

        Reconstructions are in the user's units.
        """
        dtype, parameters, name = state.parameters.dtype, state.views, table_name(None, self)
        if whole and dtype != np.float64:
            dtype = np.dtype(np.float64)
            parameters = state.model.split(state.parameters.astype(dtype))
        options = {"first_row": first_row} if len(state.model.layers) == 1 else {}
        out = one_pass(
            state.model,
            parameters,
            rows,
            result,
            name=name,
            n_threads=self.n_threads,
            in_domain=True,
            variant=rows_variant(state, dtype, clips=self.domain == "clip"),
            whole=whole,
            **options,
        )
        kind = dtype if whole else check.real_type(rows.dtype)
        if result == "reconstructions" and state.scaling is not None:
            wide = out.astype(np.promote_types(out.dtype, kind), copy=False)
            out = state.scaling.restore_units(wide, name, self.n_threads)
        if result in LOSSES:  # which are checked in this type
            return out.astype(kind, copy=False)
        # columns of codes are units, without the names of X's columns; str has no names
        return as_type(out, kind, str(name) if result == "codes" else name)

    def _losses(self, rows, state, result, *, whole=False):
        losses = self._one_pass(rows, state, result, whole=whole)
        if not np.isfinite(losses).all():
            raise overflow_error(
                table_name(None, self),
                state.model.split(state.parameters),
                losses if losses.ndim == 2 else None,
                losses.dtype,
            )
        return losses

    @takes_streams
    def impute(self, X: ArrayLike) -> Reals:
        """Return X with each missing entry (NaN) replaced by its reconstruction.

        The estimator must have been fitted with missing="mask". Where its fit has prepared for
        missing entries (corruption="auto", max_epochs="auto"), reconstructions take the place of
        missing entries and are reconstructed again, 20 times in all, except where there are
        multinomial groups or a user's distributions: they climb log p(missing | observed).

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)

        Returns
        -------
        X_filled : ndarray (n_samples, n_features)
            A copy; dense for sparse X, of which entries are missing with sparse_means="missing".
        """
        rows, state = self._checked(X)
        if state.fill is None:
            raise ValueError(
                f"impute needs a fit with missing='mask', got missing={shown(self.missing)}"
            )
        if isinstance(rows, SparseRows):
            return self._imputed_sparse(rows, state)
        gaps = np.isnan(rows)
        means = self._one_pass(rows, state, "reconstructions")
        filled = np.where(gaps, means, rows).astype(means.dtype, copy=False)
        some = np.flatnonzero(gaps.any(axis=1))
        if len(some) and feeds_back(self, state.model):
            part, gaps = filled[some], gaps[some]
            for _ in range(FEEDBACKS - 1):
                part = np.where(gaps, self._one_pass(part, state, "reconstructions"), part)
            filled[some] = part
        return filled

    def _imputed_sparse(self, rows, state):
        filled = self._one_pass(rows, state, "reconstructions")
        columns, values = rows.stored
        if rows.absent_missing:
            filled[np.repeat(np.arange(len(rows)), rows.counts), columns] = values
            return filled
        return rows.toarray().astype(filled.dtype, copy=False)

    def walk_back(
        self, X: ArrayLike, n_steps: int = 10, random_state: RandomState | None = None
    ) -> Reals:
        """Run a Markov chain from each row: corrupt, encode, draw from p(x | μ(h)), repeat.

        With enough capacity and training the chains of a denoising autoencoder sample from the
        distribution of the data (Bengio, Yao, Alain & Vincent 2013). Rows are corrupted according
        to `corruption`; if that is None, the chain draws from p(x | μ(h(x))) alone.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
            The rows from which the chains start.
        n_steps : int, default=10
            Number of steps of each chain.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        chain : ndarray (n_steps, n_samples, n_features)
            The rows drawn in each step.

        Raises
        ------
        ValueError
            For corruption by salt and pepper if the domain of a column is not bounded: the extremes
            of the training rows are not known any more.
        """
        rows, state = self._checked(X)
        if scalars.as_integer(n_steps, "n_steps") < 1:
            raise ValueError(f"n_steps must be at least 1, got {n_steps}")
        random = random_state_of(random_state)
        noise, model = self._noise(state, random), state.model
        parameters = model.split(state.parameters)
        chain, name = [], table_name(X, self)
        for step in range(n_steps):
            variant = noise._replace(first_sample=step * len(rows))
            options = {"name": name, "n_threads": self.n_threads, "variant": variant}
            H = one_pass(model, parameters, rows, "codes", in_domain=step == 0, **options)
            chain.append(self._sample(H, state, random))
            rows = chain[-1]
        return np.stack(chain)

    def _noise(self, state, random):
        """Return the corruption as a variant of one-pass operations, with a newly drawn seed."""
        model, dtype = state.model, state.parameters.dtype
        seed = int(random.randint(np.iinfo(np.int64).max, dtype=np.int64))
        plain = rows_variant(state, clips=self.domain == "clip") or PLAIN
        check_corruption(self.corruption)
        if not is_corrupted(self.corruption):
            return plain
        kind, level = self.corruption
        ends = {}
        if kind == "salt_and_pepper":
            low, high = noise_extremes(model, (np.nan, np.nan))  # of columns that are not scaled
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise ValueError(
                    "walk_back with salt and pepper needs columns whose domain has two ends, as "
                    "bernoulli's"
                )
            ends = {"low": low.astype(dtype), "high": high.astype(dtype)}
        return plain._replace(corruption=kind, corruption_level=level, seed=seed, **ends)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing == "mask"
        tags.input_tags.positive_only = is_of_nonnegative(self.output)
        return tags

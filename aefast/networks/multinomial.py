"""The estimator `MultinomialAutoencoder`: a denoising autoencoder that recommends items."""

from inspect import signature
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval

from aefast._base import ranking, scalars
from aefast._base.projection import project
from aefast._base.recommending import Recommending
from aefast._base.types import Array, Callbacks, PathLike, RandomState
from aefast.networks.autoencoder import Autoencoder

# what is chosen here, as for Autoencoder
_CHOSEN = (
    *("weight_decay", "alpha", "solver", "learning_rate", "learning_rate_schedule", "batch_size"),
    *("max_epochs", "early_stopping", "validation_fraction", "n_epochs_no_change", "tol"),
    *("warm_start", "checkpoint", "checkpoint_every", "resume", "n_threads"),
    *("random_state", "callbacks", "verbose"),
)
# the other parameters of Autoencoder: these values, or else its defaults
_FIXED = {
    name: parameter.default
    for name, parameter in signature(Autoencoder).parameters.items()
    if name not in (*_CHOSEN, "n_components", "corruption")
} | {
    "activation": "tanh",
    "output": "multinomial",
    "scale": None,
    "tied": False,
    "gain": False,
    "init": "glorot",
    "row_norm": "l2",
}


class _Absent:
    """A method of `Autoencoder` that makes sense for its other forms alone."""

    def __get__(self, instance: object, owner: object = None) -> Any:
        raise AttributeError("use Autoencoder for networks of given parameters")


class MultinomialAutoencoder(Recommending, Autoencoder):
    """Denoising autoencoder of counts with multinomial output, to recommend items (Mult-DAE).

    Rows are users, columns are items, and entries say how often, or how strongly, users chose them;
    or documents and words. It is the `Autoencoder` of one tanh layer of Liang et al. (2018)
    [1]_: the encoder reads a row divided by its length, of which entries are dropped at random,

        ``h = tanh(W drop(x / ‖x‖) + b)``,   ``π = softmax(h W* + c)``

    and training minimises ``−Σ_j x_j log π_j``, the multinomial log-likelihood of the row itself
    but for its constant: items compete for a user's choices, as they do in a ranked list. Rows in
    CSR form are never made dense. The scores of `recommend` are ``(h W* + c)_j``: log π_j but for a
    constant of each user.

    Parameters
    ----------
    n_components : int, default=200
        Number of hidden units.
    input_dropout : float in [0, 1), default=0.5
        Probability that an entry of the row is not shown to the encoder in training; the others are
        divided by 1 − input_dropout.
    weight_decay, alpha, solver, learning_rate, learning_rate_schedule, batch_size, max_epochs
        As for `Autoencoder`.
    early_stopping, validation_fraction, n_epochs_no_change, tol, warm_start
        As for `Autoencoder`.
    checkpoint, checkpoint_every, resume, n_threads, random_state, callbacks, verbose
        As for `Autoencoder`.

    Attributes
    ----------
    components_, decoder_components_ : ndarray (n_components, n_features)
        W and W*.
    hidden_bias_ : ndarray (n_components,)
        b.
    visible_bias_ : ndarray (n_features,)
        c.
    loss_curve_, validation_loss_curve_, n_epochs_, n_iter_, n_features_in_, feature_names_in_
        As of `Autoencoder`, whose methods it has.

    References
    ----------
    .. [1] Liang, Krishnan, Hoffman & Jebara (2018), Variational autoencoders for collaborative
       filtering.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import MultinomialAutoencoder
    >>> X = np.tile([[1.0, 1, 0, 0], [0, 0, 1, 1]], (50, 1))
    >>> model = MultinomialAutoencoder(2, max_epochs=60, random_state=0).fit(X)
    >>> items, scores = model.recommend([[1.0, 0, 0, 0], [0, 0, 0, 1.0]], 1)
    >>> items.ravel().tolist()
    [1, 2]
    """

    _parameter_constraints: dict = {
        name: Autoencoder._parameter_constraints[name] for name in _CHOSEN
    } | {
        "n_components": [Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both")],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
    }
    _file_format = "aefast multinomial autoencoder"
    _structured_parameters: tuple[str, ...] = ()

    def __init__(
        self,
        n_components: int = 200,
        *,
        input_dropout: float = 0.5,
        weight_decay: float = 0.0,
        alpha: float = 0.0,
        solver: str = "adam",
        learning_rate: float | str = "auto",
        learning_rate_schedule: str = "auto",
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_epochs_no_change: int = 5,
        tol: float = 1e-4,
        warm_start: bool = False,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        n_threads: int | None = None,
        random_state: RandomState | None = None,
        callbacks: Callbacks | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.n_components = n_components
        self.input_dropout = input_dropout
        self.weight_decay = weight_decay
        self.alpha = alpha
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_epochs_no_change = n_epochs_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.n_threads = n_threads
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose

    def __getattr__(self, name: str) -> Any:
        """Return a parameter of `Autoencoder` that is fixed here."""
        if name in _FIXED:
            return _FIXED[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def corruption(self) -> tuple[str, float] | None:
        """Noise of the encoder's input, by the name that it has in `Autoencoder`."""
        return ("dropout", self.input_dropout) if self.input_dropout else None

    from_parameters = _Absent()
    from_torch = _Absent()

    def _best(self, rows, n, exclude_seen, allowed, name):
        """Return items and scores ``(h W* + c)_j``, as `recommend` does."""
        fitted = self._fitted_parameters()  # one model, whatever other threads fit
        V, c = fitted.V, fitted.c

        def scores_of(part: Any) -> Array:
            H = self.transform(part)
            zeros = np.zeros(len(V))
            return project(
                H, zeros, V, offset=c, dtype=part.dtype, name="user_rows", n_threads=self.n_threads
            )

        return ranking.best_items(
            rows,
            n,
            scores_of=scores_of,
            exclude_seen=exclude_seen,
            allowed=allowed,
            n_threads=self.n_threads,
            name=name,
        )

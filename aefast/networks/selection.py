"""The estimator `AutoencoderCV`: an autoencoder whose parameters are chosen on held-out rows."""

import functools
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.model_selection import KFold, ParameterGrid
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints
from aefast._base.checkpoints import Checkpoint, outside_of_fits
from aefast._base.saving import NUMBER, OBJECT, Pickled, check_entries, optional
from aefast._base.sparse_rows import SparseRows
from aefast._base.streams import opened
from aefast._base.types import PathLike, RandomState
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.held_out import column_means, score_of
from aefast.networks.network import single_layer
from aefast.networks.outputs import resolve_output
from aefast.networks.training.automatic import AUTO, LBFGS_ITERATIONS, batch_size_of, n_epochs_of
from aefast.networks.training.size import size_of
from aefast.networks.variants import is_corrupted

AUTO_FOLDS = 5
MOST_ROWS_OF_FOLDS = 1000  # of longer tables one fold alone is held out
MOST_ROUNDS = 3
MASKED = ("masking", 0.2)  # corruption that the automatic candidates try


def _delegated(name):
    """Return a method that calls `best_estimator_`'s, with its signature and docstring."""
    method = getattr(Autoencoder, name)

    @functools.wraps(method)
    def call(self, *arguments, **options):
        check_is_fitted(self)
        return getattr(self.best_estimator_, name)(*arguments, **options)

    return call


def _attribute(name):
    """Return a property with the value that `best_estimator_` has."""

    def value(self):
        try:
            best = vars(self)["best_estimator_"]
        except KeyError:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet") from None
        return getattr(best, name)

    return property(value)


class AutoencoderCV(Pickled, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Autoencoder whose number of units and other parameters are chosen on held-out rows.

    Candidates are compared by cross-validation with successive halving (Jamieson & Talwalkar 2016):
    all of them are trained with a part of the budget, the best third with three times as much, and
    so on; those that reach the last round are trained as `Autoencoder` trains them. The best one
    is fitted to all rows. After `fit` the object does what an `Autoencoder` does.

    The squared error of held-out rows would always choose the largest code, which copies rows.
    Therefore entries are hidden: each entry of the held-out rows once, a fifth of a row at a time.
    They enter the encoder as the mean of their column, and their loss, −log p(x_j | μ_j) without
    constants, is computed at the output.

    Parameters
    ----------
    estimator : Autoencoder or None, default=None
        The parameters that all candidates share; None: ``Autoencoder()``.
    param_grid : dict, list of dict or "auto", default="auto"
        Values to try for parameters of the estimator, as for scikit-learn's `GridSearchCV`. "auto":
        half, once and twice the number of units that ``n_components="auto"`` chooses, each without
        and, unless the estimator has a `corruption`, with the corruption ("masking", 0.2).
    scoring : {"hidden", "rows"}, default="hidden"
        "hidden": minus the mean loss of a row's entries where they are hidden. "rows": minus the
        mean loss of whole rows; it compares variants whose codes are of one size.
    cv : int or "auto", default="auto"
        Number of folds; 1: a fifth of the rows is held out once. "auto": 5 for up to 1000 rows,
        otherwise 1.
    factor : int, default=3
        In each round one candidate of `factor` goes on, with `factor` times as many epochs; there
        are at most 3 rounds.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: the file has the scores so far, and how far the fit of the best
        candidate to all rows is. The fit of a candidate that was interrupted begins anew. A number
        of steps and "epoch" mean after each score.
    random_state : int, RandomState instance or None, default=None
        Source of the folds, of the hidden entries, and of the seeds of estimators that have none.
    verbose : int, default=0
        1 prints each candidate's score in each round.

    Attributes
    ----------
    best_estimator_ : Autoencoder
        The chosen autoencoder, fitted to all rows.
    best_params_ : dict
        The chosen values of the parameters in `param_grid`.
    best_index_ : int
        Their number among the candidates.
    best_score_ : float
        Their score in the last round.
    n_components_ : int
        Number of hidden units.
    cv_results_ : dict of list or ndarray
        "params"; "mean_test_score" and "std_test_score" over the folds in the last round that a
        candidate reached; "round", the number of that round from 0 on; "rank_test_score": 1 is the
        best, and candidates of later rounds are ahead of others.
    n_splits_ : int
        Number of folds that were held out.
    components_, decoder_components_, hidden_bias_, visible_bias_, gain_, output_parameters_, \
    loss_curve_, validation_loss_curve_, history_, best_epoch_, n_epochs_, fit_report_
        As for `Autoencoder`.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns; only if X has string column names.

    Notes
    -----
    Candidates that diverge have the score −inf. Results depend on `random_state` alone, never on
    times or numbers of threads. `save` writes the file of `best_estimator_`: `aefast.load` returns
    an `Autoencoder`, with the chosen parameters.

    References
    ----------
    .. [1] Jamieson & Talwalkar (2016), Non-stochastic best arm identification and hyperparameter
       optimization.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast import AutoencoderCV
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(300, 3)) @ random.normal(size=(3, 15))
    >>> X = X + 0.5 * random.normal(size=X.shape)
    >>> search = AutoencoderCV(param_grid={"n_components": [1, 3, 8]}, cv=2, random_state=0).fit(X)
    >>> search.best_params_
    {'n_components': 3}
    >>> search.transform(X).shape
    (300, 3)
    """

    _parameter_constraints: dict = {
        "estimator": [Autoencoder, None],
        "param_grid": [dict, list, StrOptions({"auto"})],
        "scoring": [StrOptions({"hidden", "rows"})],
        "cv": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "factor": [Interval(Integral, 2, None, closed="left")],
        **checkpoints.CONSTRAINTS,
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Autoencoder | None = None,
        param_grid: dict[str, Any] | list[dict[str, Any]] | str = "auto",
        *,
        scoring: str = "hidden",
        cv: int | str = "auto",
        factor: int = 3,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        random_state: RandomState | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.scoring = scoring
        self.cv = cv
        self.factor = factor
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.random_state = random_state
        self.verbose = verbose

    best_estimator_: Autoencoder

    def fit(self, X: ArrayLike, y: object = None, **fit_params: ArrayLike | None) -> Self:
        """Choose parameters by cross-validation, and train with them on X.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            As for `Autoencoder.fit`; at least 2 rows. Folds are copies of rows.
        y : ignored
        **fit_params
            sample_weight : array-like (n_samples,) or None. Rows are divided into folds whatever
            their weights, except that rows of weight 0 are left out; training and scores are
            weighted.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or input, also those of a candidate; the fitted state does not
            change.
        FloatingPointError
            If all candidates diverge.
        """
        self._validate_params()
        base, X = self._base(), opened(X, whole=True)
        rows = base._table(X, reset=True)
        if unknown := sorted(fit_params.keys() - {"sample_weight"}):
            raise TypeError(f"fit() got an unexpected keyword argument {unknown[0]!r}")
        weight = check.as_mean_weight(fit_params.get("sample_weight"), len(rows))
        is_sparse = isinstance(rows, SparseRows)
        table = X if hasattr(X, "iloc") else rows  # whose columns have names
        if is_sparse:
            X = table = rows.to_csr()
        if weight is not None and not weight.all():
            kept = np.flatnonzero(weight)
            X = table = _safe_indexing(table, kept)
            rows, weight = rows[kept], weight[kept]
        if len(rows) < 2:
            raise ValueError("AutoencoderCV needs at least 2 rows, got n_samples = 1")
        checkpoint = Checkpoint.of(self)
        if base.checkpoint is not None:
            raise ValueError(
                "the estimator's checkpoint would be that of every candidate: give it to "
                "AutoencoderCV(checkpoint=...) instead"
            )
        seed = self._draw_seed() if checkpoint is None else checkpoint.seed(self._draw_seed)
        if checkpoint is not None:
            tables = {"X": rows, "sample_weight": weight}
            checkpoint.identify(seed, tables, check.feature_names(X))
        if base.random_state is None:
            base.set_params(random_state=seed)
        with outside_of_fits():  # candidates whose scores are known are not fitted again
            self._fit_best(base, X, table, rows, weight, seed, checkpoint)
        return self

    def _fit_best(self, base, X, table, rows, weight, seed, checkpoint):
        """Score the candidates, fit the best one, and set the fitted attributes."""
        _check_all_rows(base, X)
        candidates = self._candidates(base, rows)
        models = [clone(base).set_params(**params) for params in candidates]
        splits = self._splits(len(rows), seed)
        score = functools.partial(score_of, self.scoring, table, rows, weight, seed=seed)
        stored = None if checkpoint is None else _StoredScores(checkpoint.stage("scores"))
        scores, rounds = self._halve(models, candidates, rows, splits, score, stored)
        mean = scores.mean(axis=1)
        order = np.lexsort((np.arange(len(models)), -mean, -rounds, mean == -np.inf))
        best = int(order[0])
        if mean[best] == -np.inf:
            raise FloatingPointError("all candidates diverged: lower their learning_rate")
        model = clone(models[best])
        model._check_parameters()
        model._fit(X, weight, None, None if checkpoint is None else checkpoint.part("best"))
        ranks = np.empty(len(models), np.int64)
        ranks[order] = np.arange(1, len(models) + 1)
        with np.errstate(invalid="ignore"):
            spread = np.where(np.isfinite(mean), scores.std(axis=1), np.nan)
        found = {"params": candidates, "mean_test_score": mean, "std_test_score": spread}
        fitted = dict(
            best_estimator_=model,
            best_params_=candidates[best],
            best_index_=best,
            best_score_=float(mean[best]),
            n_components_=len(model.components_),
            cv_results_=found | {"round": rounds, "rank_test_score": ranks},
            n_splits_=len(splits),
        )
        self.__dict__.update(fitted)  # in one call, which no KeyboardInterrupt divides

    def _draw_seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    # ---- candidates ----

    def _base(self):
        return Autoencoder() if self.estimator is None else clone(self.estimator)

    def _candidates(self, base, rows):
        """Return the combinations of the grid's values; raise an error that names `param_grid`."""
        if isinstance(self.param_grid, str):
            return list(ParameterGrid(self._automatic_grid(base, rows)))
        try:
            candidates = list(ParameterGrid(self.param_grid))
        except (TypeError, ValueError, IndexError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"param_grid must be a dict of lists or a list of these: {error}") from None
        known = base.get_params(deep=False)
        unknown = sorted({str(n) for c in candidates for n in c if n not in known})
        if unknown:
            raise ValueError(f"param_grid has {unknown[0]!r}, which Autoencoder does not have")
        if not candidates:
            raise ValueError("param_grid must have at least one candidate, got none")
        return candidates

    def _automatic_grid(self, base, rows):
        fill = None
        if base.missing == "mask" and not isinstance(rows, SparseRows):
            fill = column_means(rows)
        n, d = rows.shape
        output = resolve_output(base.output, d, getattr(self, "feature_names_in_", None))
        reading = base._reading(rows, n, None, output, fill, column_means(rows), "X")
        if getattr(rows, "absent_missing", False):
            reading = reading._replace(fill=reading.zeros(d))
        k = size_of(base, rows, n, None, reading)[0]
        least = base.top_k or 1
        sizes = sorted({max(least, -(-k // 2)), k, min(2 * k, max(k, d))})
        grid = {"n_components": sizes}
        return grid | ({} if is_corrupted(base.corruption) else {"corruption": [None, MASKED]})

    def _splits(self, n, seed):
        n_folds = AUTO_FOLDS if n <= MOST_ROWS_OF_FOLDS else 1
        n_folds = n_folds if isinstance(self.cv, str) else int(self.cv)
        folds = KFold(min(n, n_folds if n_folds > 1 else AUTO_FOLDS), shuffle=True)
        folds.random_state = seed
        return list(folds.split(np.empty((n, 1))))[:n_folds]

    def _halve(self, models, candidates, rows, splits, score, stored):
        """Return the scores (candidates, folds) and the round that each candidate reached."""
        n_rounds = 1
        while n_rounds < MOST_ROUNDS and self.factor**n_rounds < len(models):
            n_rounds += 1
        scores, rounds = np.full((len(models), len(splits)), -np.inf), np.zeros(len(models), int)
        alive = np.arange(len(models))
        for number in range(n_rounds):
            share = 1 / self.factor ** (n_rounds - 1 - number)
            for index in alive:
                model = _with_budget(models[index], share, rows, splits)
                for fold, split in enumerate(splits):
                    if stored is None:
                        scores[index, fold] = score(model, split)
                    else:
                        key = f"round {number}, candidate {index}, fold {fold}"
                        compute = functools.partial(score, model, split)
                        scores[index, fold] = stored.score(key, compute)
                rounds[index] = number
                if self.verbose:
                    shown = f"{scores[index].mean():.6g} with {candidates[index]}"
                    print(f"round {number + 1}/{n_rounds}: {shown}")
            n_kept = max(1, -(-len(alive) // self.factor))
            alive = np.sort(alive[np.argsort(-scores[alive].mean(axis=1), kind="stable")[:n_kept]])
        return scores, rounds

    # ---- the interface of an Autoencoder ----

    transform = _delegated("transform")
    inverse_transform = _delegated("inverse_transform")
    to_torch = _delegated("to_torch")
    to_onnx = _delegated("to_onnx")
    reconstruct = _delegated("reconstruct")
    reconstruct_slices = _delegated("reconstruct_slices")
    reconstruction_error = _delegated("reconstruction_error")
    score_samples = _delegated("score_samples")
    score = _delegated("score")
    sample_output = _delegated("sample_output")
    impute = _delegated("impute")
    walk_back = _delegated("walk_back")
    save = _delegated("save")

    components_ = _attribute("components_")
    decoder_components_ = _attribute("decoder_components_")
    hidden_bias_ = _attribute("hidden_bias_")
    visible_bias_ = _attribute("visible_bias_")
    gain_ = _attribute("gain_")
    output_parameters_ = _attribute("output_parameters_")
    loss_curve_ = _attribute("loss_curve_")
    validation_loss_curve_ = _attribute("validation_loss_curve_")
    n_epochs_ = _attribute("n_epochs_")
    history_ = _attribute("history_")
    best_epoch_ = _attribute("best_epoch_")
    fit_report_ = _attribute("fit_report_")
    n_features_in_ = _attribute("n_features_in_")
    feature_names_in_ = _attribute("feature_names_in_")

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_is_fitted__(self):
        return "best_estimator_" in vars(self)

    def __sklearn_tags__(self):
        tags, of_base = super().__sklearn_tags__(), self._base().__sklearn_tags__()
        tags.input_tags, tags.transformer_tags = of_base.input_tags, of_base.transformer_tags
        return tags


class _StoredScores:
    """Scores of candidates that a checkpoint has, and to which others are added."""

    def __init__(self, stage):
        self._stage, self._scores = stage, {}
        if stage.found is not None:
            check_entries("scores", stage.found.state, {"scores": OBJECT})
            found = stage.found.state["scores"]
            check_entries("scores", found, dict.fromkeys(found, optional(NUMBER)))
            self._scores = found

    def score(self, key, compute):
        """Return the score of this key, from the file or `compute()`; diverged ones are −inf."""
        if key not in self._scores:
            found = float(compute())
            self._scores[key] = found if np.isfinite(found) else None
            self._stage.keep({"scores": self._scores})
        found = self._scores[key]
        return -np.inf if found is None else found


def _check_all_rows(base, X):
    """Check X as a fit does, before its rows are divided, so that errors name rows of X."""
    least = {"max_epochs": 0, "init": "glorot", "n_components": base.top_k or 1}
    clone(base).set_params(**least, callbacks=None, verbose=0, warm_start=False).fit(X)


def _with_budget(model, share, rows, splits):
    """Return a candidate with a share of its own epochs; all of them are left as they are."""
    if share == 1:
        return model
    n, epochs = len(splits[0][0]), model.max_epochs
    if isinstance(epochs, str):
        epochs = LBFGS_ITERATIONS
        if model.solver != "lbfgs":
            size = batch_size_of(n) if model.batch_size == AUTO else int(model.batch_size)
            d = rows.shape[1]
            k = d if isinstance(model.n_components, str) else int(model.n_components)
            output = resolve_output("gaussian", d, None)
            epochs = n_epochs_of(single_layer(d, k, True, "sigmoid", output), n, size)
    return clone(model).set_params(max_epochs=max(1, round(share * epochs)))

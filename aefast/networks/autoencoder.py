"""The estimator `Autoencoder`: a network of one hidden layer."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    Interval,
    RealNotInt,
    StrOptions,
)

from aefast._base import checkpoints, scalars, threads
from aefast._base.types import Callbacks, OutputLike, PathLike, RandomState
from aefast.networks import _autoencoder
from aefast.networks.exchange import GivenParameters, TorchExchange
from aefast.networks.fitted import FittedAutoencoder
from aefast.networks.inference import NetworkInference
from aefast.networks.network import single_layer
from aefast.networks.precision import PRECISIONS
from aefast.networks.scaling import KINDS as SCALES
from aefast.networks.training import factored, lbfgs, sampling
from aefast.networks.training.fitting import NetworkFitting
from aefast.networks.training.schedules import SCHEDULES
from aefast.networks.variants import check_variants, has_gain, variant_of


class Autoencoder(
    GivenParameters,
    TorchExchange,
    FittedAutoencoder,
    NetworkFitting,
    NetworkInference,
    BaseEstimator,
):
    """Autoencoder with one hidden layer, trained by gradient descent in compiled kernels.

    The encoder is ``H = g(X Wᵀ + b)`` with the sigmoid as g by default, the decoder
    ``X̂ = o(((H − g(0)) ∘ gain) W* + c)``; tied weights mean ``W* = W``, and where `gain` is off,
    ``X̂ = o(H W* + c)``. Training minimises, over batches of n rows,

        ``(1/n) Σ_i l(x_i, x̂_i) + ½ α (‖W‖² [+ ‖W*‖² when untied])``

    The loss ``l = −log p(x | μ)`` (in nats, summed over features, without constants) follows from
    the type of the input: ``½ ‖x̂ − x‖²`` with the identity as o for real inputs ("gaussian"),
    ``−Σ_j [x_j log x̂_j + (1 − x_j) log(1 − x̂_j)]`` with the sigmoid as o for inputs in [0, 1]
    ("bernoulli"), and so on. The columns of a table may have different types. The denoising,
    contractive, sparse and k-sparse variants are parameters that can be combined.

    Without further arguments a fit begins near the principal components of the rows, where its loss
    is about that of PCA with k components, goes down from there, and ends when the loss has stopped
    falling.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        k, the number of hidden units. "auto" chooses it from the rows of the first `fit` (or batch
        of `partial_fit`): the smallest number of principal components from which the entries of
        held-out rows can be predicted by the rows' other entries, but for 2 % of what the best
        number gains on the column means; at most half of the columns (rounded up) and 256 (64 with
        more than 1024 columns). Units that `dropout` drops are made up for. With `sparsity` or
        `top_k`, whose codes may be larger than the rows: 2 units for each column, at most 512, but
        at least 4 `top_k`. Where entries are missing and the network learns to fill them
        (``corruption="auto"``): one for each column, at most 256. `fit_report_` has the number;
        later batches, and fits with `warm_start`, keep it.
    activation : {"sigmoid", "tanh", "relu", "softplus", "linear", ...}, default="sigmoid"
        The function g of the hidden layer: ``1 / (1 + exp(-a))``, ``tanh(a)``, ``max(a, 0)``,
        ``log(1 + exp(a))``, ``a``, or another one of the guide's table (the error for an unknown
        name lists all). With "linear" and squared error the components span the leading principal
        subspace at the optimum (Baldi & Hornik 1989).
    output : str, (str, dict) or list of (one of these, columns), default="gaussian"
        The distribution p(x | μ), which determines the loss: "gaussian", "bernoulli", "poisson" and
        so on, for groups of columns "categorical" and "multinomial"
        (``aefast.distributions.distribution_table()`` has all names, the guide their formulas), or
        an instance of a user-defined subclass of `aefast.distributions.Distribution`. A
        distribution with options is written ``("huber", {"delta": 1.0})``, several distributions
        ``[("poisson", ["visits"]), ("bernoulli", slice(1, 5)), ("categorical", [5, 6, 7])]``, with
        columns by number, name, slice (of names: both ends included), boolean mask, or a callable
        that gets X and returns these, such as scikit-learn's `make_column_selector`; each column
        exactly once.
    scale : {"auto", "standard", "robust", "common"} or None, default="auto"
        Units in which columns of real-valued distributions (gaussian, gaussian_diagonal, laplace,
        huber, student_t) are read: ``x' = (x − shift) / scale``, computed as rows are loaded.
        "standard": means and standard deviations; "robust": medians, and distances between the
        quartiles divided by 1.349; "common": means, and one scale for all columns, the root mean
        square of their standard deviations. None: 0 and 1. "auto": None with ``init="glorot"`` and
        for the textbook's network, and where standard deviations are between 1/3 and 3 and means
        within 3 of them; otherwise "standard". Where a quarter of the columns reaches both the
        least and the greatest entry of the table, as pixels do, it is None for entries in [−1, 1]
        and otherwise "common". Parameters, losses, noise, penalties and options such as huber's
        delta are in these units; results that are rows or log-likelihoods are in those of X. Where
        it is not None, and "auto" not for the textbook's network, the encoder reads logarithms of
        columns whose distribution has a logarithm as link (poisson, negative_binomial, exponential,
        gamma): ``log(x + a) − m``, with a = 1 for counts, otherwise a tenth of the geometric mean,
        and m the mean of the logarithms. Later calls of `partial_fit`, and of `fit` with
        `warm_start`, keep the units of the first fit.
    domain : {"error", "clip"}, default="error"
        What the methods of a fitted estimator do with rows that have an entry outside the domain of
        its distribution, such as 1.004 for "bernoulli": raise ValueError, or read it as the nearest
        number in the domain. `fit` always raises.
    tied : bool, default=True
        Whether the decoder uses the encoder's weights, whose gradient is then the sum of the
        encoder's and the decoder's contributions.
    gain : bool or "auto", default="auto"
        Whether each unit has a gain, a factor of its decoded code that is learned. Tied sigmoid
        weights cannot have both small slopes and a large output; with a gain they can, and PCA is a
        limit of the model. "auto": with tied weights and an activation that is bounded on both
        sides (sigmoid, tanh), unless `alpha`, `weight_decay`, `max_norm`, `contraction`, `sparsity`
        or `top_k` is on, whose meaning a free gain would undo, or the solver is "sgd", whose rate
        would have to be tiny beside large gains. False is the textbook's network.
    init : {"auto", "pca", "glorot", "sparse"}, default="auto"
        Initial values. "pca": weights along the leading eigenvectors of the covariance of the rows,
        with pre-activations of standard deviation 1 at most; further units begin along random
        directions, with a gain of 0. The output's scale is chosen on 1024 of the rows, such that
        the first loss is about PCA's and at most that of the column means. "glorot": weights
        uniform in ±s·sqrt(6 / (d + k)), s = 4 for the sigmoid and 1 for the other activations
        (Glorot & Bengio 2010). "sparse": each unit has 15 weights that are not 0, drawn from
        N(0, 1) for the sigmoid (Martens 2010) and from N(0, 1/16) for the other activations.
        "auto": "glorot" with ``gain=False`` or ``solver="muon"``, otherwise "pca".
    solver : {"sgd", "adam", "adagrad", "muon", "lbfgs"}, default="adam"
        "adam": Kingma & Ba (2015) with β = (0.9, 0.999), ε = 1e-8. "sgd": with `momentum` and
        `nesterov`. "adagrad": Duchi, Hazan & Singer (2011), ``s ← s + g²``,
        ``w ← w − rate·g / (√s + 1e-10)``. "muon": for each matrix the momentum of "sgd", with its
        singular values brought near 1 by five Newton–Schulz steps (Jordan et al. 2024), times 0.2
        √max(k, d), so that its entries are of the size of Adam's steps (Liu et al. 2025); Adam for
        biases. A step costs two to three times as much as Adam's; deep networks need far fewer, and
        fit training rows closer, in about as much time. "lbfgs": L-BFGS on the loss of all rows
        (Liu & Nocedal 1989) with 10 pairs and SciPy's line search, at most `max_epochs` iterations.
        It works in float64, while losses and gradients are computed in the type of X; noise is
        drawn once; `batch_size`, the learning rate and other parameters of batches are not used.
    learning_rate : float or "auto", default="auto"
        Size of a solver's steps; `learning_rate_schedule` may reduce it. "auto": with "adam" and
        "adagrad", 0.1 times the size of each parameter array after a start by "pca" (0.01 times in
        `partial_fit`; 0.2 / L times in L > 2 layers); 0.01 with "muon"; otherwise 1e-3.
    momentum : float in [0, 1), default=0.9
        Momentum of "sgd" and "muon": ``v ← momentum·v + g``, ``w ← w − learning_rate·v``. 0 is
        plain gradient descent.
    nesterov : bool, default=False
        Nesterov's momentum for "sgd" and "muon": ``w ← w − learning_rate·(g + momentum·v)``.
    batch_size : int or "auto", default="auto"
        Rows in a step; at most all of them. "auto": 32 to 256, a sixteenth of the rows. The last,
        shorter batch of a pass counts as a step. The working memory of a fit is some 4 (d + k)
        numbers for each row of a batch.
    max_epochs : int or "auto", default="auto"
        Number of passes over the rows; 0 only initialises. "auto": at least 80 passes and 4000
        steps, but not more than some 3e13 operations (about a minute) and at least 2 passes.
        Training ends earlier once the loss, averaged over twentieths of this budget, has not fallen
        by `tol`, relative to its value, twice in a row; the learning rate then decays for three
        tenths of the whole training.
    early_stopping : bool, default=False
        Hold out rows, monitor the loss on them, keep the parameters of the best epoch.
    validation_fraction : float in (0, 1), default=0.1
        Fraction of the rows that `early_stopping` holds out.
    n_epochs_no_change : int, default=5
        Number of epochs without an improvement of `tol` after which training stops.
    tol : float, default=1e-4
        Absolute improvement of the monitored loss (validation loss with `early_stopping`, training
        loss without). 0 runs all epochs. With ``max_epochs="auto"`` it is relative to the loss.
    alpha : float, default=0.0
        Weight of the L2 penalty ``½ α ‖W‖²``; biases are not penalised.
    missing : {"error", "mask"}, default="error"
        Meaning of NaN in X: an error, or with "mask" a missing entry, which has neither loss nor
        gradient and is replaced in the encoder's input according to `missing_fill`.
    missing_fill : {"mean", "zero"}, default="mean"
        Replacement of missing entries: the mean of the column's entries in the (first) fit, or 0.
    sparse_means : {"zero", "missing"}, default="zero"
        Meaning of entries that a sparse X does not store: 0, or missing, as ratings that nobody has
        given: only stored entries have a loss then (AutoRec, Sedhain et al. 2015), and the encoder
        reads what is missing as 0 in the units of `scale`, whatever `missing_fill` is.
    row_norm : {"l2"} or None, default=None
        "l2": the encoder reads each row divided by its Euclidean norm (a row of zeros as it is),
        and logarithms of no column; the loss compares with the row itself. Noise of `corruption`
        comes after it.
    sparse_output : {"exact", "factored"}, default="exact"
        Steps on sparse rows. "exact": the output of all columns is computed. "factored": the same
        steps of plain gradient descent (``solver="sgd", momentum=0``) on squared errors, in time
        that does not depend on the number of columns (Vincent, de Brébisson & Bouthillier 2015).
    reconstruction_sampling : int, float or None, default=None
        On sparse rows, the loss of a training step is that of each row's stored entries and of this
        number of its zeros (an int), or of this number for each stored entry (a float), drawn anew
        in each pass, whose losses are divided by the probabilities of being drawn: losses and
        gradients are unbiased (Dauphin, Glorot & Bengio 2011), and the output is computed for these
        entries alone. None: the loss has all columns, as that of dense rows, held-out rows and the
        other methods always has. Not for outputs of groups of columns ("multinomial").
    corruption : "auto", None or (kind, level), default="auto"
        Denoising (Vincent et al. 2008): rows are corrupted before they are encoded, anew in each
        pass, and reconstructed clean. ("masking", p): entries become 0 with probability p.
        ("salt_and_pepper", p): entries become the least or the greatest value of the column (of its
        domain, if that is bounded), with probability p/2 each. ("gaussian", sigma): normal noise is
        added. ("dropout", p): entries become 0 with probability p, the others are divided by 1 − p.
        "auto": None, except where entries are missing and ``max_epochs="auto"`` (and the
        solver is not "lbfgs"): then normal noise of half the columns' spread is added, and tables
        of up to some 8 million entries are completed by regularised iterative PCA before training,
        which learns the completions too.
    contraction : float, default=0.0
        Weight λ of the penalty ``λ mean_i ‖∂h/∂x_i‖²`` (Rifai et al. 2011), which is
        ``Σ_j g'(a_j)² ‖W_j‖²`` for each row.
    sparsity : None, ("kl", rho, beta), ("l1", lambda), ..., default=None
        Penalty of the codes: ``β Σ_j KL(ρ ‖ mean_i h_ij)`` over each batch, for sigmoid codes (Ng
        2011, CS294A lecture notes), ``λ mean_i ‖h_i‖₁``, or another one of the guide's table.
    top_k : int or None, default=None
        Number of units, the largest of each row's code, that keep their value; the others are 0
        (Makhzani & Frey 2013). Gradients pass through the kept units alone. A unit that no row of a
        whole pass has kept gets 1/32 of the gradient, so that it comes back (after Gao et al.
        2024).
    dropout : float in [0, 1), default=0.0
        Probability that a unit of the code is dropped in training; the others are divided by 1 −
        dropout (Srivastava et al. 2014).
    weight_decay : float, default=0.0
        Decay of the weights (not of the biases) in each step, ``w ← w − rate·weight_decay·w``,
        decoupled from the gradient and from the loss (Loshchilov & Hutter 2019). With "sgd" and no
        momentum it equals the penalty `alpha`; other solvers would rescale a penalty's gradient.
    clip_norm : float or None, default=None
        Largest Euclidean norm of a step's gradient (of all parameters together, penalty included);
        a longer one is scaled down to it (Pascanu, Mikolov & Bengio 2013).
    max_norm : float or None, default=None
        Largest Euclidean norm of a hidden unit's weights (a row of W, and of W* when untied);
        weights that are longer after a step are scaled down to it (Srivastava et al. 2014, section
        5.1).
    weight_averaging : float in (0, 1) or None, default=None
        Decay β of a moving average of all parameters over the steps, ``w̄ ← β_t w̄ + (1 − β_t) w``
        with ``β_t = min(β, (1 + t) / (10 + t))`` after t steps (Polyak & Juditsky 1992; Tarvainen &
        Valpola 2017). The fitted parameters are w̄, and so are those of validation losses and
        callbacks; steps and the training loss are of w. 0.99 or 0.999 spare most of a decay of the
        learning rate. None: the fitted parameters are w. Not for "lbfgs".
    learning_rate_schedule : {"auto", "constant", "trapezoid", "invscaling", "cosine", "plateau"}, \
        default="auto"
        Learning rate of step t. "auto": "trapezoid" with ``learning_rate="auto"``, otherwise
        "constant". "trapezoid": the rate rises over the first 5 % of the steps of `max_epochs`
        epochs and falls to 0 over the last 30 % (also known as warmup-stable-decay; Hägele et al.
        2024). "invscaling": ``learning_rate / √t``, with t counted from the first
        step, through `warm_start` and `partial_fit`. "cosine":
        ``½ learning_rate (1 + cos(π s / S))`` after s of the S steps of `max_epochs` epochs
        (Loshchilov & Hutter 2017); each `fit` begins anew, and so does `partial_fit` after every
        `max_epochs` calls. "plateau": the rate is divided by 5 whenever `n_epochs_no_change` epochs
        in a row have not improved the monitored loss by `tol`, where training would stop otherwise;
        training stops when the rate would fall below a thousandth of `learning_rate` (never with
        ``tol=0``); `partial_fit` takes the epochs of `loss_curve_` into account.
    shuffle : bool, default=True
        Visit rows in a new random order in each pass. In memory maps of more than 32 MiB, blocks of
        1 MiB are shuffled, and rows are mixed among 32 blocks.
    warm_start : bool, default=False
        Whether `fit` goes on from the fitted parameters and optimizer state.
    precision : {"auto", "bfloat16"}, default="auto"
        Precision of training. "auto": float32 for X of float32, uint8 or bool, float64 otherwise.
        "bfloat16": parameters and optimizer state are float32 for any type of X; matrix products
        multiply operands rounded to bfloat16 (8 significant bits) and add up in float32. It needs a
        processor with AVX512_BF16 (see ``aefast.build_info()["bfloat16"]``); `fit` raises
        ValueError on others. See Notes.
    n_threads : int or None, default=None
        Number of threads. None: the cores that this process may use (affinity, cgroup,
        OMP_NUM_THREADS, threadpoolctl), or one if the work is small. Results have the same bits for
        any number.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, shuffles, noise and held-out rows.
    callbacks : callable, list of callables or None, default=None
        Functions to call after each epoch as ``callback(epoch, loss, validation_loss, estimator)``
        (epoch counts from 1; validation_loss is None without `early_stopping`; the estimator has
        the epoch's parameters). A callback that returns True stops training.
    checkpoint : str, path-like or None, default=None
        File in which `fit` stores how far it is, so that it can go on after the process has ended
        for whatever reason; its result then has the bits of a fit that has not been interrupted.
        The file is written beside and renamed, and stays when the fit is over. It is no model file.
        `partial_fit` has no use for it.
    checkpoint_every : int, "epoch" or str, default="10 min"
        When it is written: after a number of steps, each epoch, or a time ("30 s", "10 min", "2 h")
        since the last time; also at the end, and after Ctrl-C. Within an epoch, too.
    resume : bool or "auto", default="auto"
        "auto": `fit` goes on from the file where there is one, True: there must be one, False: it
        starts anew. A file of other rows or parameters is refused by name. `n_threads`,
        `callbacks`, `verbose` and the parameters of checkpoints may differ.
    verbose : int, default=0
        1 shows a progress bar, 2 prints a line for each epoch instead.

    Attributes
    ----------
    components_ : ndarray (n_components, n_features)
        Weights W of the encoder, for the scaled columns (see `scale`), as all parameters are.
    decoder_components_ : ndarray (n_components, n_features)
        Weights W* of the decoder; in the same memory as W when tied.
    hidden_bias_ : ndarray (n_components,)
        Bias b of the hidden layer.
    visible_bias_ : ndarray (n_features,)
        Bias c of the output.
    gain_ : ndarray (n_components,) or None
        Gain of each unit; None: there is none.
    fit_report_ : dict
        What the last `fit` chose for parameters that were "auto" (n_components, scale, batch_size,
        max_epochs, learning_rate, learning_rate_schedule), n_epochs and n_steps, how training ended
        ("converged"; "budget", while the loss still fell; "max_epochs", a number that was set), and
        on up to 512 of the training rows the mean loss and that of the column means with their own
        best parameters (variances, shapes), in nats, both in the units of `scale`. n_logarithms:
        the number of columns of which the encoder reads logarithms, where there are any.
    loss_curve_ : list of float
        For each epoch, the mean over rows of the minimised loss of their batch (before its update),
        penalty included.
    validation_loss_curve_ : list of float
        Mean loss of the held-out rows after each epoch; empty without `early_stopping`.
    n_epochs_ : int
        Number of passes made.
    history_ : dict of list
        A table with a row for each epoch, which `pandas.DataFrame` takes: "epoch", "step" (updates
        so far), "loss", "validation_loss", "learning_rate" (of the last step) and "seconds" (of
        training so far). Fits with `warm_start` and `partial_fit` continue it. Seconds are in no
        model file: NaN stands for them, as for all that is not known.
    best_epoch_ : int
        Epoch of the last fit with the least validation loss or, without one, the least loss.
    output_parameters_ : dict of str to ndarray (n_features,)
        Parameters that distributions have for each column ("log_variance" of "gaussian_diagonal",
        for example); NaN in columns that do not have the parameter.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns; only if X has string column names.

    Notes
    -----
    X is not copied if it holds float32, float64, uint8 or bool and the columns of each row are
    adjacent (memory maps too); anything else is converted to float64. A sparse matrix or array of
    SciPy, or a DataFrame of sparse columns, is converted to CSR with float32 or float64 entries, if
    it is not, and no array of all of its rows and columns is made. `scale` does not shift sparse
    columns, so that zeros stay zeros (with sparse_means="missing" it does). The scales of columns
    are those of at most 2**20 entries, initial values by "pca" those of at most 2**23 scaled
    entries:
    of evenly spread blocks of rows where there are more. Computations are in float32
    for float32, uint8 and bool, and with precision="bfloat16" for float64 too. The visible bias
    starts such that a row equal to the column means is reconstructed as these means.

    `fit` issues a ConvergenceWarning if the result does not beat the column means, if the budget
    ended while the loss still fell, if most codes are saturated, or if most relu units are dead.

    With precision="bfloat16" the rounded operands are the rows, the codes, the weights (a copy,
    made anew after each update) and the gradients at the pre-activations; biases, losses,
    derivatives, sums and updates are float32. The other methods compute in float32. The kernels for
    bfloat16 have been tested on one processor that has the instructions and are tested by
    emulation; they have never been timed.

    Ctrl-C leaves a usable estimator with the parameters reached, and raises KeyboardInterrupt.
    Training that diverges raises FloatingPointError and leaves the last finite parameters.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors.
    .. [2] Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural networks.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import Autoencoder
    >>> X = load_digits().data / 16
    >>> ae = Autoencoder(32, output="bernoulli", max_epochs=5, random_state=0).fit(X)
    >>> ae.transform(X).shape
    (1797, 32)
    """

    _parameter_constraints: dict = {
        "n_components": [
            Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both"),
            StrOptions({"auto"}),
        ],
        "activation": [StrOptions(set(_autoencoder.ACTIVATIONS))],
        "output": "no_validation",  # resolve_output says what is wrong
        "scale": [None, StrOptions(set(SCALES))],
        "domain": [StrOptions({"error", "clip"})],
        "tied": ["boolean"],
        "gain": ["boolean", StrOptions({"auto"})],
        "init": [StrOptions({"auto", "pca", "glorot", "sparse"})],
        "solver": [StrOptions({*_autoencoder.SOLVERS, lbfgs.NAME})],
        "learning_rate": [
            Interval(Real, 0, np.finfo(np.float32).max, closed="right"),
            StrOptions({"auto"}),
        ],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_epochs_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, np.finfo(np.float32).max, closed="both")],
        "missing": [StrOptions({"error", "mask"})],
        "missing_fill": [StrOptions({"mean", "zero"})],
        "sparse_means": [StrOptions({"zero", "missing"})],
        "row_norm": [None, StrOptions({"l2"})],
        "sparse_output": [StrOptions({"exact", "factored"})],
        "reconstruction_sampling": [
            None,
            Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both"),
            Interval(RealNotInt, 0, np.finfo(np.float32).max, closed="right"),
        ],
        "corruption": [None, StrOptions({"auto"}), tuple],
        "contraction": [Interval(Real, 0, np.finfo(np.float32).max, closed="both")],
        "sparsity": [None, tuple],
        "top_k": [None, Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, np.finfo(np.float32).max, closed="both")],
        "clip_norm": [None, Interval(Real, 0, np.finfo(np.float32).max, closed="right")],
        "max_norm": [None, Interval(Real, 0, np.finfo(np.float32).max, closed="right")],
        "weight_averaging": [None, Interval(Real, 0, 1, closed="neither")],
        "learning_rate_schedule": [StrOptions({"auto", *SCHEDULES})],
        "shuffle": ["boolean"],
        "warm_start": ["boolean"],
        "precision": [StrOptions(set(PRECISIONS))],
        "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
        "random_state": ["random_state"],
        "callbacks": [None, callable, list, tuple],
        **checkpoints.CONSTRAINTS,
        "verbose": ["verbose"],
    }

    _completes_rows = True  # before training, where entries are missing

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        activation: str = "sigmoid",
        output: OutputLike = "gaussian",
        scale: str | None = "auto",
        domain: str = "error",
        tied: bool = True,
        gain: bool | str = "auto",
        init: str = "auto",
        solver: str = "adam",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        nesterov: bool = False,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_epochs_no_change: int = 5,
        tol: float = 1e-4,
        alpha: float = 0.0,
        missing: str = "error",
        missing_fill: str = "mean",
        sparse_means: str = "zero",
        row_norm: str | None = None,
        sparse_output: str = "exact",
        reconstruction_sampling: float | None = None,
        corruption: tuple[str, float] | str | None = "auto",
        contraction: float = 0.0,
        sparsity: tuple[Any, ...] | None = None,
        top_k: int | None = None,
        dropout: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        weight_averaging: float | None = None,
        learning_rate_schedule: str = "auto",
        shuffle: bool = True,
        warm_start: bool = False,
        precision: str = "auto",
        n_threads: int | None = None,
        random_state: RandomState | None = None,
        callbacks: Callbacks | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        verbose: int | bool = 0,
    ) -> None:
        self.n_components = n_components
        self.activation = activation
        self.output = output
        self.scale = scale
        self.domain = domain
        self.tied = tied
        self.gain = gain
        self.init = init
        self.solver = solver
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_epochs_no_change = n_epochs_no_change
        self.tol = tol
        self.alpha = alpha
        self.missing = missing
        self.missing_fill = missing_fill
        self.sparse_means = sparse_means
        self.row_norm = row_norm
        self.sparse_output = sparse_output
        self.reconstruction_sampling = reconstruction_sampling
        self.corruption = corruption
        self.contraction = contraction
        self.sparsity = sparsity
        self.top_k = top_k
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.max_norm = max_norm
        self.weight_averaging = weight_averaging
        self.learning_rate_schedule = learning_rate_schedule
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.precision = precision
        self.n_threads = n_threads
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose

    # ---- hooks of NetworkFitting ----

    def _check_variants(self):
        check_variants(self)
        factored.check_parameters(self)
        sampling.check_parameters(self)
        lbfgs.check(self)

    def _given_sizes(self):
        return (int(self.n_components),)

    def _sizes_around(self, k):
        return (k,)

    def _model_of(self, n_features, output, sizes):
        top_k = 0 if self.top_k is None else int(self.top_k)
        [k], tied = sizes, bool(self.tied)
        return single_layer(
            n_features, k, tied, self.activation, output, top_k, gain=has_gain(self)
        )

    def _variant_of(self, model, dtype, **found):
        return variant_of(self, model, dtype, **found)

"""The options of `aefast fit` that are parameters of the estimator."""

from typing import Any

from aefast.cli import variants
from aefast.networks import _autoencoder
from aefast.networks.precision import PRECISIONS
from aefast.networks.scaling import KINDS as SCALES
from aefast.networks.training.schedules import SCHEDULES

# Options that are constructor parameters: flags, parameter, default, help. The defaults repeat the
# constructor's, so that --help need not import scikit-learn; a test compares them. Only --layers
# and --seed have different defaults.
PARAMETERS = (
    (
        "-k --components",
        "n_components",
        "auto",
        "hidden units; auto: a number that suits the training rows",
    ),
    (
        "--layers",
        "layer_sizes",
        None,
        "hidden units of several layers, from the data up, as 500,250,30, or auto: a deep "
        "autoencoder, pre-trained layer by layer",
    ),
    (
        "--pretrain-epochs",
        "pretrain_epochs",
        "auto",
        "passes over the training rows for each of --layers",
    ),
    (
        "--code-activation",
        "code_activation",
        None,
        "of the last of --layers, where it is another one",
    ),
    ("--activation", "activation", "sigmoid", "of the hidden units"),
    ("--output", "output", "gaussian", variants.OUTPUT_HELP),
    (
        "--column-scale",
        "scale",
        "auto",
        "units in which real-valued columns are read: auto, by their spreads",
    ),
    ("--domain", "domain", "error", "what a row outside the output's domain is: error, or clip"),
    (
        "--init",
        "init",
        "auto",
        "initial values: pca, near the principal components; glorot, random; sparse, random with "
        "15 weights a unit; auto, pca unless --no-gain",
    ),
    ("--no-gain", "gain", "auto", "the textbook's network, whose units have no gain"),
    ("--untied", "tied", True, "give the decoder weights of its own"),
    ("--epochs", "max_epochs", "auto", "passes over the training rows, at most"),
    ("--batch-size", "batch_size", "auto", "rows in a training step"),
    ("--solver", "solver", "adam", "optimizer"),
    ("--learning-rate", "learning_rate", "auto", "step size of the optimizer"),
    ("--momentum", "momentum", 0.9, "of sgd"),
    ("--nesterov", "nesterov", False, "Nesterov's momentum for sgd"),
    ("--alpha", "alpha", 0.0, "L2 penalty: 1/2 alpha ||W||^2 is added to the loss"),
    (
        "--weight-decay",
        "weight_decay",
        0.0,
        "share of the weights, times the rate, that each step takes away",
    ),
    ("--clip-norm", "clip_norm", None, "norm of a step's gradient at most"),
    ("--max-norm", "max_norm", None, "norm of a hidden unit's weights at most"),
    (
        "--weight-averaging",
        "weight_averaging",
        None,
        "decay, such as 0.99, of a moving average of the weights, which the model gets",
    ),
    (
        "--learning-rate-schedule",
        "learning_rate_schedule",
        "auto",
        "how the rate changes: see the guide",
    ),
    (
        "--missing",
        "missing",
        "error",
        "what NaN (in a .csv file: an empty field, or nan) means: error, or mask for entries that "
        "are missing",
    ),
    ("--missing-fill", "missing_fill", "mean", "what a missing entry enters the encoder as"),
    (
        "--sparse-means",
        "sparse_means",
        "zero",
        "what entries mean that sparse rows do not store: zero or missing",
    ),
    ("--sparse-output", "sparse_output", "exact", "steps on sparse rows: exact or factored"),
    (
        "--reconstruction-sampling",
        "reconstruction_sampling",
        None,
        "losses of so many zeros of each sparse row, or with a decimal point so many per stored "
        "entry, instead of those of all columns",
    ),
    ("--row-norm", "row_norm", None, "divide the encoder's rows by this norm: l2"),
    (
        "--corruption",
        "corruption",
        "auto",
        "noise: masking:P, dropout:P, salt_and_pepper:P or gaussian:SIGMA; auto: some where "
        "entries are missing",
    ),
    (
        "--fine-tuning-corruption",
        "fine_tuning_corruption",
        None,
        "noise of the rows in fine-tuning of --layers, in the forms of --corruption",
    ),
    ("--contraction", "contraction", 0.0, "weight of the contractive penalty"),
    ("--sparsity", "sparsity", None, variants.SPARSITY_HELP),
    ("--top-k", "top_k", None, "units of each code that keep their value"),
    ("--dropout", "dropout", 0.0, "probability that a unit of the code is dropped in training"),
    (
        "--early-stopping",
        "early_stopping",
        False,
        "watch the loss on training rows set aside for that",
    ),
    (
        "--validation-fraction",
        "validation_fraction",
        0.1,
        "share of training rows set aside for that",
    ),
    (
        "--patience",
        "n_epochs_no_change",
        5,
        "epochs without improvement after which training stops",
    ),
    ("--tol", "tol", 0.0001, "least improvement of the loss, in nats; 0 runs all epochs"),
    ("--seed", "random_state", 0, "of initial weights, shuffles and held-out rows"),
    (
        "--precision",
        "precision",
        "auto",
        "of the products: auto, or bfloat16 on processors that have it",
    ),
    ("--threads", "n_threads", None, "at most; by default the cores this process may use"),
)
# Types of parameters whose default is None and whose values are not int, and parsers for parameters
# with a special syntax.
_TYPES = {
    "n_components": variants.auto_or(int),
    "layer_sizes": variants.layers,
    "code_activation": str,
    "row_norm": str,
    "clip_norm": float,
    "max_norm": float,
    "weight_averaging": float,
    "output": variants.output,
    "corruption": variants.auto_or(variants.corruption),
    "fine_tuning_corruption": variants.corruption,
    "sparsity": variants.sparsity,
    "scale": variants.name_or_none,
    "batch_size": variants.auto_or(int),
    "max_epochs": variants.auto_or(int),
    "pretrain_epochs": variants.auto_or(int),
    "learning_rate": variants.auto_or(float),
    "reconstruction_sampling": variants.number,
}
_METAVARS = {
    "layer_sizes": "N,N,...",
    "output": "P",
    "corruption": "KIND:LEVEL",
    "fine_tuning_corruption": "KIND:LEVEL",
    "sparsity": "KIND:...",
}
# Names of parsed options that differ from their parameter's, which another option has.
DESTINATIONS = {"scale": "column_scale"}


def add_parameters(group):
    choices = {
        "activation": _autoencoder.ACTIVATIONS,
        "code_activation": _autoencoder.ACTIVATIONS,
        "missing": ("error", "mask"),
        "missing_fill": ("mean", "zero"),
        "sparse_means": ("zero", "missing"),
        "sparse_output": ("exact", "factored"),
        "row_norm": ("l2",),
        "solver": (*_autoencoder.SOLVERS, "lbfgs"),
        "init": ("auto", "pca", "glorot", "sparse"),
        "learning_rate_schedule": ("auto", *SCHEDULES),
        "precision": PRECISIONS,
        "scale": (*SCALES, None),
        "domain": ("error", "clip"),
    }
    for flags, name, default, description in PARAMETERS:
        destination = DESTINATIONS.get(name, name)
        settings: dict[str, Any] = {"dest": destination, "default": default, "help": description}
        if isinstance(default, bool):
            settings["action"] = "store_false" if default else "store_true"
        elif name == "gain":
            settings |= {"action": "store_const", "const": False}
        else:
            settings["type"] = _TYPES.get(name, int if default is None else type(default))
            settings["help"] += "" if default is None else " (default: %(default)s)"
            settings |= (
                {"choices": choices[name]}
                if name in choices
                else {"metavar": _METAVARS.get(name, "N")}
            )
        group.add_argument(*flags.split(), **settings)

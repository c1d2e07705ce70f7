"""Hypothesis strategies for estimators' parameters, good ones and hostile ones."""

import numpy as np
from hypothesis import strategies as st

import aefast

HOSTILE = [
    *(None, True, False, "", "auto", "median", b"adam", (), [], {}, object()),
    *(-1, 0, 0.0, -0.0, 0.5, 1e-320, 1e39, 1e300, -1e300, np.nan, np.inf, -np.inf),
    *(10**400, -(10**400), 2**63, 2**31, 1 + 0j, np.float32(0.5), np.array(0.5), np.array([1, 2])),
    *(np.str_("mean"), ("gaussian", -1), ("kl", 2.0, 1.0), (None, None)),
]
# Parameters that may make a call take hours where they are large, and rightly so; and those that
# take the memory they ask for.
COSTLY = {
    *(
        "n_draws",
        "max_epochs",
        "max_iter",
        "pretrain_epochs",
        "n_epochs_no_change",
        "code_max_iter",
    ),
    *("n_components", "layer_sizes", "n_threads", "verbose", "callbacks", "random_state"),
}
SMALL = [value for value in HOSTILE if not isinstance(value, int) or abs(value) < 2**31]

OUTPUTS = [
    *("gaussian", "bernoulli", "continuous_bernoulli", "gaussian_diagonal", "poisson"),
    *("exponential", "gamma", "negative_binomial", "laplace", "huber", "student_t"),
    *("categorical", "multinomial", ("huber", {"delta": 0.5}), ("huber", {"delta": -1})),
    *([("gaussian", [0, 1]), ("bernoulli", [2, 3, 4])], [("categorical", [0, 1, 2, 3, 4])]),
    *([("gaussian", [0, 1])], [("gaussian", [0, 9])], "cauchy"),
]
NETWORK = {
    "activation": ["sigmoid", "tanh", "relu", "softplus", "elu", "linear"],
    "output": OUTPUTS,
    "solver": ["sgd", "adam", "adagrad", "muon", "lbfgs"],
    "learning_rate": [1e-3, 0.1, 10.0, 1e10, 1e30],
    "momentum": [0.0, 0.9],
    "nesterov": [True],
    "batch_size": [1, 3, 1000],
    "max_epochs": [0, 1, 3],
    "early_stopping": [True],
    "validation_fraction": [0.1, 0.5, 0.99],
    "tol": [0.0, 1.0],
    "alpha": [0.0, 0.1, 1e20],
    "missing": ["mask"],
    "missing_fill": ["zero"],
    "sparse_means": ["missing"],
    "row_norm": ["l2"],
    "corruption": [
        ("masking", 0.3),
        ("salt_and_pepper", 1.0),
        ("gaussian", 0.1),
        ("gaussian", 1e30),
    ],
    "contraction": [0.1, 1e20],
    "sparsity": [("kl", 0.1, 0.1), ("l1", 0.1), ("log", 1e20)],
    "weight_decay": [0.1, 1e20],
    "clip_norm": [1.0, 1e-30],
    "max_norm": [1.0, 1e-30],
    "weight_averaging": [0.9, 1e-300],
    "init": ["glorot", "sparse"],
    "learning_rate_schedule": ["constant", "invscaling", "cosine"],
    "shuffle": [False],
    "warm_start": [True],
    "precision": ["bfloat16"],
    "n_threads": [1, 2],
}
NOT_OF_ENSEMBLES = (
    *("early_stopping", "validation_fraction", "missing", "missing_fill", "sparse_means"),
    *("row_norm", "warm_start", "precision", "weight_averaging"),
)
NOT_OF_HEADS = (
    *("sparse_means", "row_norm", "contraction", "sparsity", "precision", "weight_averaging"),
)
CODING = {
    "algorithm": [
        *("lasso_active", "lasso_cd", "lasso_lars", "omp", "lars", "fista", "ista", "threshold"),
    ],
    "alpha": [0.0, 1e-8, 0.1, 1.0, 1e30],
    "n_nonzero_coefs": [1, 3, 100],
    "tol": [0.0, 1e-4, 1.0],
    "code_max_iter": [1, 50],
    "output_format": ["dense", "sparse"],
    "n_threads": [1, 2],
}
FACTORS = {
    "n_components": [1, 2, 5, 6],
    "tol": [0.0, 1e-6],
    "max_iter": [1, 20],
    "n_threads": [1, 2],
}
MIXTURES = FACTORS | {
    "n_components": [1, 5, 6, [1, 2], ()],
    "n_mixtures": [1, 3, 30, [2, 1], [], "bic"],
    "n_init": [2],
}
# For each estimator: defaults that make it quick, and values to draw from.
PARAMETERS = {
    "Autoencoder": (
        {"n_components": 3, "max_epochs": 2, "random_state": 0, "n_threads": 1},
        NETWORK
        | {
            "n_components": [1, 40, "auto"],
            "tied": [False],
            "top_k": [1, 3, 9],
            "dropout": [0.5, 0.999],
            "reconstruction_sampling": [1, 2.5, 10**6],
        },
    ),
    "AutoencoderCV": (
        {
            "estimator": aefast.Autoencoder(max_epochs=2, n_threads=1),
            "param_grid": {"n_components": [1, 3]},
            "cv": 2,
            "random_state": 0,
        },
        {
            "param_grid": [{"learning_rate": [1e-3, 1e30]}, [{"tied": [False]}, {"alpha": [0.1]}]],
            "scoring": ["rows"],
            "cv": [1, 3, 100],
            "factor": [2, 10],
        },
    ),
    "AutoencoderEnsemble": (
        {
            "n_estimators": 3,
            "n_components": 2,
            "max_epochs": 1,
            "random_state": 0,
            "n_threads": 1,
        },
        {name: NETWORK[name] for name in NETWORK if name not in NOT_OF_ENSEMBLES}
        | {"max_samples": [1, 7, 0.5, 1.0], "max_features": [1, 2, 0.5, 1.0], "bootstrap": [True]},
    ),
    "StackedAutoencoder": (
        {
            "layer_sizes": (4, 2),
            "max_epochs": 1,
            "pretrain_epochs": 1,
            "random_state": 0,
            "n_threads": 1,
        },
        NETWORK
        | {
            "layer_sizes": [
                "auto",
                (3,),
                (7, 3, 2),
                [2, 2],
                (),
                (0,),
                "ab",
                (1, -1),
                np.array([3, 2]),
            ],
            "code_activation": ["linear"],
            "tied": [False],
            "pretrain_epochs": [0, 2],
            "fine_tuning_corruption": [("masking", 0.3), ("salt_and_pepper", 1.0), ("gaussian", 9)],
            "top_k": [1, 3, 9],
            "dropout": [0.5, 0.999],
        },
    ),
    **{
        name: (
            {
                "layer_sizes": (4, 2),
                "max_epochs": 1,
                "pretrain_epochs": 1,
                "random_state": 0,
                "n_threads": 1,
            },
            {name: values for name, values in NETWORK.items() if name not in NOT_OF_HEADS}
            | {
                "layer_sizes": ["auto", (3,), (7, 3, 2), ()],
                "code_activation": ["linear"],
                "pretrain_epochs": [0, 2],
                "encoder": [
                    aefast.Autoencoder(3, max_epochs=1, tied=False, random_state=0),
                    aefast.StackedAutoencoder((3, 2), max_epochs=1, random_state=0),
                ],
                "reconstruction_weight": [0.1, 1e6],
                "input_dropout": [0.0, 0.5, 1 - 1e-9],
                **(
                    {"class_weight": ["balanced"], "missing_label": [None, 1, ""]} if labels else {}
                ),
            },
        )
        for name, labels in (("AutoencoderClassifier", True), ("AutoencoderRegressor", False))
    },
    "ProbabilisticPCA": (
        {"n_components": 2, "n_threads": 1},
        FACTORS
        | {
            "n_components": [1, 2, 5, 6, 0.9, "mle", "cv", "cv-1se", None],
            "svd_solver": ["covariance", "krylov"],
        },
    ),
    "FactorAnalysis": (
        {"n_components": 2, "n_threads": 1, "max_iter": 50},
        FACTORS
        | {
            "n_components": [1, 2, 5, 6, "parallel", "bic", "cv", None],
            "method": ["minres"],
            "scores": ["bartlett"],
            "rotation": ["varimax", "promax", "oblimin", "target"],
            "rotation_options": [{}, {"gamma": -1.0}, {"target": np.eye(5, 2)}, {"power": 1e300}],
            "min_noise": [1e-12, 0.5],
        },
    ),
    "MixtureOfFactorAnalyzers": (
        {"n_components": 2, "n_threads": 1, "max_iter": 20, "random_state": 0},
        MIXTURES | {"min_noise": [1e-12, 0.5]},
    ),
    "MixtureOfProbabilisticPCA": (
        {"n_components": 2, "n_threads": 1, "max_iter": 20, "random_state": 0},
        MIXTURES,
    ),
    "Imputer": (
        {"n_components": 2, "n_threads": 1, "max_iter": 20},
        {
            "method": ["ppca", "fa"],
            "n_components": [1, 2, 5, 6, "auto"],
            "n_draws": [0, 2],
            "missing_values": [0, 0.0, np.inf],
            "add_indicator": [True],
            "keep_empty_features": [True],
            "max_iter": [1, 20],
        },
    ),
    "TableEncoder": (
        {},
        {"roles": [None, {"x0": "category"}, [("count", [1])]], "max_categories": [2, 1000]},
    ),
    "TableAutoencoder": (
        {"autoencoder": aefast.Autoencoder(2, max_epochs=1, n_threads=1)},
        {
            "autoencoder": [aefast.Autoencoder(1, max_epochs=0)],
            "roles": [None, {"x0": "category"}, {"x1": "drop"}],
            "max_categories": [2, 1000],
        },
    ),
    "AnomalyDetector": (
        {"n_sets": 2, "n_references": 5, "n_threads": 1},
        {
            "contamination": [0.5, 1e-300, "auto"],
            "false_alarm_rate": [1e-300, 0.5],
            "calibration_fraction": [0.0, 0.5, 1 - 1e-12],
            "n_sets": [1, 7],
            "n_references": [1, 64],
            "n_threads": [2],
        },
    ),
    "MarginalizedAutoencoder": (
        {"n_threads": 1},
        {"corruption": [1e-12, 0.5, 1 - 1e-12], "activation": ["identity"], "n_threads": [2]},
    ),
    "ItemAutoencoder": (
        {"n_threads": 1},
        {
            "l2": [1e-300, 1e-8, 1.0, 1e300],
            "n_components": [1, 3, 8],
            "density": [1e-9, 0.5, 1 - 1e-9],
            "precision": ["float32", "float64"],
            "item_feature_weight": [1e-300, 1e300],
            "max_iter": [1, 50],
            "n_threads": [2],
        },
    ),
    "MultinomialAutoencoder": (
        {"n_components": 2, "max_epochs": 1, "random_state": 0, "n_threads": 1},
        {
            "n_components": [1, 9],
            "input_dropout": [0.0, 1e-9, 1 - 1e-9],
            "weight_decay": [0.0, 1e-3, 1e300],
            "solver": ["sgd"],
            "learning_rate": [1e-300, 1e300],
            "batch_size": [1, 1000],
            "early_stopping": [True],
            "warm_start": [True],
        },
    ),
    "Whitening": (
        {"n_threads": 1},
        {"method": ["pca"], "epsilon": [0.0, 1e-300, 1e300], "n_components": [1, 5, 6]},
    ),
    "DictionaryLearning": (
        {"n_components": 4, "max_epochs": 2, "random_state": 0, "n_threads": 1},
        CODING
        | {
            "n_components": [None, 1, 30],
            "batch_size": [1, 3, 1000],
            "max_epochs": [0, 1],
            "forgetting": [0.0, 1.0, 1e30],
            "positive_code": [True],
            "positive_dict": [True],
            "dict_init": [None, "data", np.eye(4, 5), np.zeros((4, 5)), np.full((4, 5), 1e300)],
            "replace_unused": [False],
            "early_stopping": [True],
            "code_tol": [0.0, 1e-4],
            "transform_algorithm": [None, "omp", "threshold"],
            "transform_alpha": [None, 0.0, 0.1],
            "transform_n_nonzero_coefs": [None, 2, 100],
            "split_sign": [True],
            "shuffle": [False],
        },
    ),
    "SparseCoder": (
        {"dictionary": np.eye(4, 5), "n_threads": 1, "code_max_iter": 100},
        CODING
        | {
            "dictionary": [
                *(np.ones((1, 5)), np.full((3, 5), 1e300), np.full((3, 5), 1e-300)),
                *(np.zeros((3, 5)), np.eye(4, 6), np.full((3, 5), np.nan), [[1]], np.eye(30, 5)),
            ],
            "positive": [True],
            "split_sign": [True],
            "atom_weights": [np.ones(4), np.zeros(4), np.full(4, 1e-300), -np.ones(4), [1.0]],
        },
    ),
}


@st.composite
def estimators(draw, name):
    """An estimator with a few parameters unlike the quick ones, one of them perhaps hostile."""
    given_, choices = PARAMETERS[name]
    given_ = dict(given_)
    for parameter in draw(st.lists(st.sampled_from(sorted(choices)), max_size=4, unique=True)):
        given_[parameter] = draw(st.sampled_from(choices[parameter]))
    cls = getattr(aefast, name)
    if draw(st.integers(0, 5)) == 0:
        parameter = draw(st.sampled_from(sorted(cls._get_param_names())))
        hostile = st.sampled_from(SMALL if parameter in COSTLY else HOSTILE)
        given_[parameter] = draw(hostile)
    return cls(**given_)

"""Names that scikit-learn and SPAMS give to parameters of sparse coding.

Those of scikit-learn that mean the same are aliases; `max_iter` counts passes over the rows there,
too.
"""

from aefast._base.foreign_names import Alias, Names

_N_JOBS = Alias("n_threads", {-1: None})  # all processors
_PRODUCTS = "products with the dictionary are computed, block by block: leave it out"
_CHECKS = "rows are always checked, where they are read: leave it out"
_PENALTY = "the penalty is alpha"
_ONE_PENALTY = "there is no penalty but alpha's: leave it out"

DICTIONARY_LEARNING: Names = {
    # scikit-learn
    "max_iter": Alias("max_epochs"),
    "fit_algorithm": Alias("algorithm", {"lars": "lasso_lars", "cd": "lasso_cd"}),
    "transform_max_iter": Alias("code_max_iter"),
    "n_jobs": _N_JOBS,
    "callback": "functions that are called after each pass are callbacks, with other arguments",
    "code_init": "codes are computed to code_tol from any start: leave it out",
    "max_no_improvement": "the number is n_epochs_no_change, of passes instead of batches",
    # SPAMS: trainDL
    "K": "the number of atoms is n_components",
    "D": "atoms to start from are dict_init",
    "lambda1": _PENALTY,
    "lambda2": _ONE_PENALTY,
    "iter": "the number is max_epochs, of passes instead of batches",
    "batchsize": "rows between two updates are batch_size",
    "posAlpha": "codes without negative entries come by positive_code",
    "posD": "atoms without negative entries come by positive_dict",
    "numThreads": "the number of threads is n_threads",
    "rho": "older batches lose weight by forgetting",
    "modeParam": "older batches lose weight by forgetting",
    "clean": "unused atoms are replaced by replace_unused",
}

_CODES: dict[str, str | Alias] = {
    # SPAMS: lasso, omp
    "D": "the dictionary is dictionary, an atom in each row",
    "lambda1": _PENALTY,
    "lambda2": _ONE_PENALTY,
    "L": "the largest number of atoms is n_nonzero_coefs",
    "eps": "the squared error to reach is alpha, with n_nonzero_coefs=None",
    "pos": "codes without negative entries come by positive",
    "W": "weights of the atoms are atom_weights",
    "numThreads": "the number of threads is n_threads",
}

SPARSE_CODER: Names = _CODES | {
    # scikit-learn
    "transform_algorithm": Alias("algorithm"),
    "transform_n_nonzero_coefs": Alias("n_nonzero_coefs"),
    "transform_alpha": Alias("alpha", {None: 1.0}),
    "transform_max_iter": Alias("code_max_iter"),
    "positive_code": Alias("positive"),
    "n_jobs": _N_JOBS,
}

SPARSE_ENCODE: Names = _CODES | {
    # scikit-learn
    "n_jobs": _N_JOBS,
    "gram": _PRODUCTS,
    "cov": _PRODUCTS,
    "copy_cov": _PRODUCTS,
    "check_input": _CHECKS,
    "verbose": "there is no progress to show: leave it out",
}

"""Names that scikit-learn, factor_analyzer and R give to parameters of the linear estimators."""

_K = "the number of components is n_components"
_NOT_COPIED = "X is never changed, and copied only where its type asks for it"
_COVARIANCE = (
    "for a covariance or correlation matrix of n rows use "
    "fit_statistics(SufficientStatistics.from_covariance(C, n))"
)
_ROTATION_OPTIONS = "options of the rotation are rotation_options, a dict"
_NO_SOLVER = "the solver follows from the shape of X"

FACTOR_ANALYSIS = {
    # scikit-learn
    "copy": _NOT_COPIED,
    "noise_variance_init": "the fit has starting values of its own",
    "svd_method": _NO_SOLVER,
    "iterated_power": _NO_SOLVER,
    "random_state": "the fit is deterministic",
    # factor_analyzer
    "n_factors": _K,
    "is_corr_matrix": _COVARIANCE,
    "rotation_kwargs": _ROTATION_OPTIONS,
    "use_smc": "the fit has starting values of its own",
    "bounds": "the least noise variance is min_noise",
    "impute": "missing entries are NaN, and fit uses what is observed",
    # R: factanal, psych::fa
    "factors": _K,
    "nfactors": _K,
    "covmat": _COVARIANCE,
    "n_obs": _COVARIANCE,
    "r": _COVARIANCE,
    "rotate": "the rotation is rotation",
    "fm": "the method is method, 'ml' or 'minres'",
    "lower": "the least noise variance is min_noise",
    "SMC": "the fit has starting values of its own",
    "min_err": "the tolerance is tol",
    # SAS
    "nfact": _K,
    "heywood": "the least noise variance is min_noise",
    "nobs": _COVARIANCE,
}

PROBABILISTIC_PCA = {
    # scikit-learn
    "copy": _NOT_COPIED,
    "whiten": "posterior means are nearly white; for exact whitening use Whitening('pca')",
    "iterated_power": "iterations of the Krylov solver end by tol or max_iter",
    "n_oversamples": "the Krylov solver ends by tol or max_iter",
    "power_iteration_normalizer": "the Krylov solver needs none",
    # R: prcomp, princomp, pcaMethods::ppca
    "rank_": _K,
    "nPcs": _K,
    "center": "columns are always centred",
    "scale_": "scale X beforehand, as by StandardScaler",
    "retx": "codes are the result of transform",
    "covmat": _COVARIANCE,
}

MIXTURES = {
    # scikit-learn's GaussianMixture
    "covariance_type": "a component's covariance has n_components factors and a noise",
    "reg_covar": "the least noise variance is min_noise, a fraction of the columns' variances",
    "init_params": "the fit starts from k-means on principal components",
    "weights_init": "the fit starts from k-means on principal components",
    "means_init": "the fit starts from k-means on principal components",
    "precisions_init": "the fit starts from k-means on principal components",
    "warm_start": "each fit starts anew",
    "verbose_interval": "verbose=1 shows a progress bar",
    # others
    "n_clusters": "the number of components of the mixture is n_mixtures",
    "n_factors": _K,
    "n_latent": _K,
}

WHITENING = {
    # scikit-learn's PCA(whiten=True)
    "whiten": "the method is method, 'zca' or 'pca'",
    "copy": _NOT_COPIED,
    "svd_solver": _NO_SOLVER,
    "random_state": "the fit is deterministic",
    # ZCA of other packages
    "regularization": "what is added to the variances is epsilon",
    "eps": "what is added to the variances is epsilon",
    "reg": "what is added to the variances is epsilon",
}

MARGINALIZED_AUTOENCODER = {
    "noise": "the probability of corruption is corruption",
    "p": "the probability of corruption is corruption",
    "prob_corruption": "the probability of corruption is corruption",
    "noise_level": "the probability of corruption is corruption",
}

ITEM_AUTOENCODER = {
    "lambda_": "the penalty is l2",
    "reg": "the penalty is l2",
    "reg_weight": "the penalty is l2",
    "regularization": "the penalty is l2",
    "alpha": "the penalty is l2",
}

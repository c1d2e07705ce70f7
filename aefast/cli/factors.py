"""Commands `aefast factors` and `aefast sample`: fit a linear factor model, draw rows from it."""

import copy
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np

import aefast
from aefast.cli import streamed
from aefast.cli.cluster import add_cluster, engine_of_files, is_asked
from aefast.cli.common import (
    DATA_HELP,
    METRICS_NAME,
    MODEL_NAME,
    MOST_PICTURED_ROWS,
    TABLE_HELP,
    add_checkpoints,
    add_folder,
    add_reading,
    add_seed,
    add_threads,
    checkpoint_options,
    describe,
    image_shape,
    model_path,
    read_data,
    report,
    test_fraction,
)
from aefast.cli.held_out import hold_out
from aefast.cli.labels import read_labels
from aefast.linear.likelihoods import added_likelihoods, likelihood_of_part
from aefast.linear.rotation import ROTATIONS
from aefast.tables.outputs import check_can_write, check_can_write_table
from aefast.tables.sources import paths_of
from aefast.tables.writers import write_matrix

_PICTURE_NAMES: tuple[str, ...] = ("scree.png", "loadings.png", "likelihood.png")
_MIXTURE_PICTURES: tuple[str, ...] = ("means.png", "likelihood.png")
_WORDS_NAME = "words.png"
_MOST_LISTED = 8  # features of a factor that are printed
_ROTATIONS = [name for name in ROTATIONS if name != "target"]  # whose target is a table
_MOST_PRINTED = 60  # columns of which the table of loadings is printed
_TEST_FRACTION = 0.1
_NAMES = {"ppca": "probabilistic PCA", "fa": "factor analysis"}


def add_sample(command):
    describe(
        command,
        _sample,
        "Factors are drawn from their normal distribution, then each row given its factors. The "
        "rows go to a file or, as CSV, to standard output.",
        {"n_samples": "-n"},
    )
    add = command.add_argument
    add("model", metavar="MODEL", help="a model file, or the folder of a fit")
    add("-n", "--rows", type=int, default=1, metavar="N", help="how many (default: %(default)s)")
    add("-o", "--out", metavar="FILE", default="-", help=f"{TABLE_HELP} (default: %(default)s)")
    add_seed(command, "the draws")


def add_factors(command):
    describe(
        command,
        _factors,
        "Rows of DATA chosen at random are held out, to tell the model's likelihood of rows it has "
        "not seen. What comes of it goes to one folder: "
        f"{MODEL_NAME}, {METRICS_NAME} and, with matplotlib, {', '.join(_PICTURE_NAMES)}. Entries "
        "may be missing: NaN, and empty fields or NA in a text file.",
        {"n_components": "-k", "n_mixtures": "--mixtures", "n_threads": "--threads"},
    )
    add = command.add_argument
    add("data", metavar="DATA", help=DATA_HELP)
    add(
        "--model",
        choices=list(_NAMES),
        default="ppca",
        help="ppca: probabilistic PCA, noise of one variance; fa: factor analysis, each feature "
        "its own (default: %(default)s)",
    )
    add(
        "-k",
        "--components",
        type=_components,
        metavar="K",
        help="factors, or cv (held-out likelihood); for ppca also a share of the variance below 1, "
        "mle, or cv-1se (the fewest within a standard error of cv's), for fa parallel (parallel "
        "analysis, the default) or bic; by default what the model has",
    )
    add(
        "--mixtures",
        type=_mixtures,
        metavar="M",
        help="a mixture of M such models, one for each group of rows; a list (2,5,10) or bic: the "
        "number of least Bayesian criterion",
    )
    add("--rotation", choices=_ROTATIONS, help="of the loadings, for fa")
    add(
        "--method", choices=["ml", "minres"], help="maximum likelihood or minimum residuals, for fa"
    )
    add(
        "--covariance",
        type=int,
        metavar="N",
        help="DATA is a covariance or correlation matrix of N rows (divided by N − 1)",
    )
    add_folder(command, "aefast-factors")
    add(
        "--test-fraction",
        type=test_fraction,
        metavar="F",
        help=f"share of rows held out (default: {_TEST_FRACTION}); with 0 a .npy file is only "
        "mapped, and may be larger than memory",
    )
    add_seed(command, "the rows held out")
    add(
        "--image-shape",
        type=image_shape,
        metavar="HxW",
        help="draw loadings as images of this shape (28x28, or 32x32x3 for colour), or as a table "
        "(none)",
    )
    add(
        "--labels",
        metavar="FILE",
        help="names of the features, one a line, such as the words that are counted: the largest "
        f"loadings of each factor are listed by name, and drawn ({_WORDS_NAME})",
    )
    add("--no-plots", action="store_true", help="draw no pictures")
    add("--quiet", action="store_true", help="no summary")
    add_threads(command)
    add_checkpoints(command)
    add_cluster(command)
    add_reading(command)
    streamed.add_stream(command)


def _components(text):
    if text in ("mle", "cv", "cv-1se", "parallel", "bic"):
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _mixtures(text):
    if text == "bic":
        return text
    sizes = [int(size) for size in text.split(",")]
    return sizes if len(sizes) > 1 else sizes[0]


def _factors_of_stream(arguments):
    for name in ("covariance", "labels", "mixtures"):
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --stream")
    out, rows, model = Path(arguments.out), streamed.stream_of(arguments), _new_model(arguments)
    check_can_write(out, (MODEL_NAME, METRICS_NAME), paths_of(arguments.data))
    started = time.perf_counter()
    model.fit(rows)
    seconds = time.perf_counter() - started
    scores = _likelihoods(arguments, model, {"train": rows})
    metrics = _metrics(arguments, model, {"train": len(rows)}, scores, seconds)
    written = _save(out, model, metrics)
    report(arguments, _summary(arguments, model, metrics, written), metrics)


def _save(out, model, metrics):
    """Write the model and its metrics to a folder, and return their names for the summary."""
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / MODEL_NAME)
    with aefast.model_file.replacing(out / METRICS_NAME) as file:
        file.write(json.dumps(metrics, indent=2, allow_nan=False).encode() + b"\n")
    return f"{MODEL_NAME}, {METRICS_NAME}"


def _factors(arguments):
    if arguments.stream:
        return _factors_of_stream(arguments)
    if is_asked(arguments):
        _factors_of_files(arguments)
        return
    if arguments.test_fraction is None:
        arguments.test_fraction = _TEST_FRACTION
    is_matrix = arguments.covariance is not None
    is_shuffled = arguments.test_fraction > 0 and not is_matrix
    hint = " (a covariance matrix has no missing entries)"
    table = read_data(arguments, writeable=is_shuffled, gaps=not is_matrix, hint=hint, numeric=True)
    out = Path(arguments.out)
    pictures = _PICTURE_NAMES if arguments.mixtures is None else _MIXTURE_PICTURES
    if arguments.labels is not None:
        if arguments.mixtures is not None:
            raise ValueError("--labels is of one model: a mixture (--mixtures) has no list of them")
        labels = read_labels(arguments.labels, table.rows.shape[1])
        table = dataclasses.replace(table, feature_names=labels)
        pictures = (*pictures, _WORDS_NAME)
    names = (MODEL_NAME, METRICS_NAME, *pictures)
    inputs = [*paths_of(arguments.data), *filter(None, [arguments.labels])]
    check_can_write(out, names, inputs)
    model = _new_model(arguments)
    if is_matrix and arguments.checkpoint is not None:
        raise ValueError("--checkpoint is of a fit to rows: one to --covariance takes no time")
    model.set_params(**checkpoint_options(arguments))
    if is_matrix:
        statistics = aefast.SufficientStatistics.from_covariance(table.rows, arguments.covariance)
        subsets: dict = {}
    else:
        train, test = hold_out(table.rows, arguments.test_fraction, arguments.seed)
        subsets = {"train": train, "test": test} if len(test) else {"train": train}
    started = time.perf_counter()
    _ = model.fit_statistics(statistics) if is_matrix else model.fit(train)
    seconds = time.perf_counter() - started
    model.set_params(checkpoint=None)
    if table.feature_names is not None:
        model.feature_names_in_ = np.array(table.feature_names, dtype=object)
    n_rows = {name: len(rows) for name, rows in subsets.items()}
    scores = _likelihoods(arguments, model, subsets)
    metrics = _metrics(arguments, model, n_rows or {"train": arguments.covariance}, scores, seconds)
    rows = subsets.get("test", subsets.get("train"))
    _write(arguments, model, metrics, rows, table)


def _factors_of_files(arguments):
    """Fit on a cluster: files are partitions, none of whose rows are held out."""
    given = {"--covariance": arguments.covariance, "--test-fraction": arguments.test_fraction}
    for name, value in given.items():
        if value:
            raise ValueError(
                f"{name} is of a table in memory: with --dask or --workers, all rows are fitted to"
            )
    out, pictures = Path(arguments.out), _PICTURE_NAMES[:2]
    if arguments.mixtures is not None:
        pictures = _MIXTURE_PICTURES[:1]
    if arguments.labels is not None:
        raise ValueError("--labels is of a table in memory: columns of files have names")
    check_can_write(out, (MODEL_NAME, METRICS_NAME, *pictures), paths_of(arguments.data))
    model = _new_model(arguments)
    if arguments.mixtures is None and arguments.checkpoint is not None:
        raise ValueError("--checkpoint is of iterations: one model is fitted in a pass over files")
    model.set_params(**checkpoint_options(arguments))
    with engine_of_files(arguments) as engine:
        started = time.perf_counter()
        model._fit_partitions(engine)
        seconds = time.perf_counter() - started
        model.set_params(checkpoint=None)
        bare = copy.copy(model)  # columns are known to be its own, and a part's have no names
        vars(bare).pop("feature_names_in_", None)
        total, n_rows = engine.reduce(likelihood_of_part, added_likelihoods, bare)
    mean, p = total / n_rows, model._n_parameters()
    scores = {"log_likelihood": {"train": mean}, "aic": 2.0 * p - 2.0 * total}
    scores["bic"] = p * math.log(n_rows) - 2.0 * total
    metrics = _metrics(arguments, model, {"train": n_rows}, scores, seconds)
    metrics["partitions"] = {"n_rows": engine.sizes, "arithmetic": engine.origin.arithmetic}
    _write(arguments, model, metrics, None, None)


def _write(arguments, model, metrics, rows, table):
    """Write the model, its metrics and pictures, and report."""
    out = Path(arguments.out)
    written = _save(out, model, metrics)
    if not arguments.no_plots:
        written += _draw(model, rows, arguments, table, out)
    text = _summary(arguments, model, metrics, written)
    if "ss_loadings" in metrics and metrics["n_features"] <= _MOST_PRINTED:
        text += f"\n\n{model.summary()}"
    if arguments.labels is not None:
        text += f"\n\n{_listed(model)}"
    report(arguments, text, metrics)


def _listed(model):
    """Return lines with the features of the largest loadings of each factor."""
    from aefast.plotting import top_features

    lines = []
    for number, row in enumerate(top_features(model, n=_MOST_LISTED), start=1):
        words = ", ".join(f"{name} {weight:+.2g}" for name, weight in row)
        lines.append(f"factor {number}: {words}")
    return "\n".join(lines)


def _new_model(arguments):
    options = {"n_components": arguments.components, "n_threads": arguments.threads}
    if arguments.mixtures is not None:
        model = _new_mixture(arguments)
    elif arguments.model == "fa":
        method = arguments.method or "ml"
        model = aefast.FactorAnalysis(rotation=arguments.rotation, method=method, **options)
    elif arguments.rotation is not None or arguments.method is not None:
        name = "--rotation" if arguments.rotation is not None else "--method"
        raise ValueError(f"{name} is of factor analysis: give --model fa too")
    else:
        model = aefast.ProbabilisticPCA(**options)
    model._validate_params()
    return model


def _new_mixture(arguments):
    for name in ("rotation", "method", "covariance"):
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} is of one model: a mixture (--mixtures) has none")
    fa = arguments.model == "fa"
    of = aefast.MixtureOfFactorAnalyzers if fa else aefast.MixtureOfProbabilisticPCA
    options = {"random_state": arguments.seed, "n_threads": arguments.threads}
    if arguments.components is not None:
        options["n_components"] = arguments.components
    return of(arguments.mixtures, **options)


def _metrics(arguments, model, n_rows, scores, seconds):
    k, d = model.components_.shape[-2:]
    facts = {
        "aefast_version": aefast.__version__,
        "data": arguments.data,
        "scaled": arguments.scale,
        "model": arguments.model,
        "n_rows": n_rows,
        "n_features": d,
        "n_components": k,
        "parameters": model.get_params(deep=False),
        "seconds": seconds,
        "n_iter": model.n_iter_,
        "log_likelihood_unit": "nats per row",
        "log_likelihood": scores["log_likelihood"],
        "log_likelihood_curve": model.log_likelihood_curve_,
        "aic": scores["aic"],
        "bic": scores["bic"],
    }
    if arguments.mixtures is not None:
        facts |= {
            "n_mixtures": model.n_mixtures_,
            "weights": model.weights_.tolist(),
            "converged": model.converged_,
            "sizes_tried": model.sizes_tried_,
        }
        return facts
    if arguments.model == "ppca":
        facts["noise_variance"] = model.noise_variance_
    else:
        facts["communalities"] = model.communalities_.tolist()
        facts["ss_loadings"] = model.ss_loadings_.tolist()
        facts["goodness_of_fit"] = _fit(model)
    facts["explained_variance_ratio"] = model.explained_variance_ratio_.tolist()
    return facts


def _likelihoods(arguments, model, subsets):
    """Return mean log-likelihoods, AIC and BIC; for a matrix, those of its rows as a whole."""
    if subsets:
        train = subsets["train"]
        means = {name: model.score(rows) for name, rows in subsets.items()}
        return {"log_likelihood": means, "aic": model.aic(train), "bic": model.bic(train)}
    n, mean = arguments.covariance, model.log_likelihood_curve_[-1]
    deviance, p = -2 * n * mean, model._n_parameters()
    return {
        "log_likelihood": {"train": mean},
        "aic": deviance + 2 * p,
        "bic": deviance + p * math.log(n),
    }


def _fit(model):
    """Return the tests of fit in types of JSON, null where there is none."""
    try:
        fit = model.goodness_of_fit()._asdict()
    except ValueError:
        return None
    low, high = fit.pop("rmsea_interval")
    fit |= {"rmsea_low": low, "rmsea_high": high}
    return {name: None if math.isnan(value) else value for name, value in fit.items()}


def _summary(arguments, model, metrics, written):
    n_rows, log_p = metrics["n_rows"], metrics["log_likelihood"]
    if arguments.covariance is None:
        of_data = (
            f"{n_rows['train']:,} rows of {metrics['n_features']:,} features to fit to, "
            f"{n_rows.get('test', 0):,} held out"
        )
    else:
        of_data = f"covariances of {metrics['n_features']:,} features of {n_rows['train']:,} rows"
    lines = [
        f"{arguments.data}: {of_data}",
        f"{_description(arguments, metrics)}, {metrics['n_components']:,} components",
        "",
        f"mean log p(x), nats per row: {log_p['train']:.4f} (training rows)"
        + (f", {log_p['test']:.4f} (held-out rows)" if "test" in log_p else ""),
    ]
    if "noise_variance" in metrics:
        share = sum(metrics["explained_variance_ratio"])
        lines.append(
            f"variance along the components: {share:.1%} of all; of the noise: "
            f"{model.noise_variance_:.4g} in each direction"
        )
    iterations = f"{metrics['n_iter']:,} iteration{'s' * (metrics['n_iter'] > 1)}"
    lines += ["", f"{iterations} in {metrics['seconds']:.2f} s", f"{arguments.out}: {written}"]
    return "\n".join(lines)


def _description(arguments, metrics):
    name = _NAMES[arguments.model]
    if arguments.mixtures is None:
        return name
    return f"mixture of {metrics['n_mixtures']:,} models of {name}"


def _draw(model, rows, arguments, table, out):
    """Draw the pictures and return the text that continues the list of written files."""
    from aefast import plotting
    from aefast.plotting import factors

    shape = arguments.image_shape
    if shape is None and table is not None:
        shape = table.image_shape
    try:
        if arguments.mixtures is not None:
            names, figures = _MIXTURE_PICTURES, [factors.means(model, shape)]
        else:
            names = _PICTURE_NAMES
            figures = [factors.scree(model), factors.loadings(model, shape)]
        if rows is not None:
            rows = rows[:: math.ceil(len(rows) / MOST_PICTURED_ROWS)]
            figures.append(factors.likelihood(model, rows))
        if arguments.labels is not None:
            names = (*names[: len(figures)], _WORDS_NAME)
            figures.append(plotting.words(model))
    except ImportError as error:
        return f"\nno pictures: {error}"
    names = names[: len(figures)]
    for name, figure in zip(names, figures, strict=True):
        plotting.save(figure, out / name)
    return ", " + ", ".join(names)


def _sample(arguments):
    check_can_write_table(arguments.out, [model_path(arguments.model)])
    path = model_path(arguments.model)
    model = aefast.load(path)
    if not hasattr(model, "sample"):
        raise ValueError(
            f"{path} holds {type(model).__name__}, which has no distribution of rows to draw from: "
            "expected a linear factor model or a mixture (aefast factors)"
        )
    rows = model.sample(arguments.rows, arguments.seed)
    rows = rows[0] if isinstance(rows, tuple) else rows  # a mixture draws components too
    names = getattr(model, "feature_names_in_", [f"x{j}" for j in range(rows.shape[1])])
    names = list(map(str, names))
    if arguments.out == "-" and arguments.json:
        report(arguments, "", dict(zip(names, rows.T, strict=True)))
        return
    write_matrix(arguments.out, rows, names)
    if arguments.out != "-":
        report(arguments, "", {"model": arguments.model, "n_rows": len(rows), "out": arguments.out})

"""Problems for tests that loop over tables of distributions: rows, parameters, one step.

The rows lie in the domains of the distributions, or are mapped into them.
"""

import numpy as np
from reference import autoencoder as reference
from reference import outputs as reference_outputs
from reference.autoencoder import Parameters, flatten, unflatten
from reference.distributions import OUTPUTS
from scipy import sparse
from scipy.special import expit

import aefast
from aefast.distributions import FAMILIES
from support.textbook import Autoencoder

# Output with 9 columns; the columns of groups lie between other columns.
MIXED = [
    ("bernoulli", [0]),
    ("categorical", [1, 4, 6]),
    (("gamma", {"shape": 1.7}), [2]),
    ("gaussian_diagonal", [3]),
    ("multinomial", [5, 7]),
    (("huber", {"delta": 0.4}), [8]),
]
ALL_OUTPUTS = {name: name for name in OUTPUTS} | {"mixed": MIXED}


def reference_output(output):
    """Return the reference implementation's form of an estimator's `output`."""
    if not isinstance(output, list):
        return output
    segments = []
    for distribution, columns in output:
        name, options = distribution if isinstance(distribution, tuple) else (distribution, {})
        value = next(iter(options.values()), None)
        fixes = fixes_parameter(distribution)
        segments.append((name, columns, None, np.log(value)) if fixes else (name, columns, value))
    return segments


def fixes_parameter(distribution):
    """Return whether an option of a distribution fixes the parameter it would learn."""
    return isinstance(distribution, tuple) and OUTPUTS[distribution[0]].constant is None


def rows_of(output, n_samples, n_features=9, seed=0):
    """Return rows (n, d) in the domain, away from its singular edges."""
    random, X = np.random.default_rng(seed), np.empty((n_samples, n_features))
    for name, columns, *_ in reference_outputs.segments(reference_output(output), n_features):
        shape = (n_samples, len(columns))
        if name == "categorical":
            X[:, columns] = np.eye(shape[1])[random.integers(shape[1], size=n_samples)]
        elif OUTPUTS[name].is_discrete:
            X[:, columns] = random.poisson(2.0, shape)
        elif OUTPUTS[name].low == -np.inf:
            X[:, columns] = random.normal(0.0, 1.5, shape)
        else:
            X[:, columns] = random.uniform(0.05, 0.95, shape)
    return X


def with_gaps(X, output, seed=1):
    """Return a copy with missing entries; the columns of a group are missing together."""
    random, X = np.random.default_rng(seed), X.copy()
    for name, columns, *_ in reference_outputs.segments(reference_output(output), X.shape[1]):
        units = [columns] if OUTPUTS[name].is_group else columns[:, np.newaxis]
        for unit in units:
            X[np.ix_(random.random(len(X)) < 0.2, unit)] = np.nan
    return X


def parameters_of(n_features, n_components, tied, seed=2):
    random = np.random.default_rng(seed)
    W, V = random.normal(0.0, 0.5, (2, n_components, n_features))
    b, c = random.normal(0.0, 0.5, n_components), random.normal(0.0, 0.5, n_features)
    return Parameters(W, b, c, None if tied else V)


def thetas_of(output, n_features, seed=3):
    """Return the distributions' parameters (d,), 0 where a distribution learns nothing."""
    theta, random = np.zeros(n_features), np.random.default_rng(seed)
    for segment, given in zip(
        reference_outputs.segments(reference_output(output), n_features),
        [(None, None)] if not isinstance(output, list) else output,
        strict=True,
    ):
        if segment.theta is not None:
            fixed = fixes_parameter(given[0])
            theta[segment.columns] = (
                segment.theta if fixed else random.normal(0.0, 0.4, len(segment.columns))
            )
    return theta


def reference_output_with_thetas(output, theta):
    return [
        segment._replace(theta=None if segment.theta is None else theta[segment.columns])
        for segment in reference_outputs.segments(reference_output(output), len(theta))
    ]


def step(X, parameters, theta, *, sample_weight=None, **options):
    """Take one step on all rows and return (loss, gradients, theta's gradient, estimator).

    Gradient descent with learning rate 1 moves the parameters by their gradients.
    """
    tied, (k, d) = parameters.decoder_weights is None, parameters.W.shape
    settings = {"solver": "sgd", "momentum": 0.0, "learning_rate": 1.0, "tol": 0, "shuffle": False}
    ae = Autoencoder(k, tied=tied, batch_size=X.shape[0], random_state=0, **settings, **options)
    ae.set_params(max_epochs=0).fit(X)
    start = flatten(parameters)
    if len(ae._state.parameters) > len(start):
        start = np.concatenate([start, theta])
    ae._state.parameters[:] = start
    ae.set_params(warm_start=True, max_epochs=1).fit(X, sample_weight=sample_weight)
    moved = start - ae._state.parameters.astype(np.float64)
    n = len(flatten(parameters))
    return ae.loss_curve_[0], unflatten(moved[:n], k, d, tied), moved[n:], ae


def expected_step(X, parameters, theta, output, *, sample_weight=None, **options):
    """Return (loss, gradients, theta's gradient) of the reference implementation."""
    segments, total = reference_output_with_thetas(output, theta), len(X)
    v = np.ones(len(X)) if sample_weight is None else sample_weight / np.mean(sample_weight)
    options |= {"sample_weight": v, "total": total}
    loss = reference.loss(X, parameters, segments, **options)
    gradients = reference.gradients(X, parameters, segments, **options)
    of_theta = np.zeros(len(theta))
    options.pop("alpha", None)
    parts = reference.theta_gradients(X, parameters, segments, **options)
    given = output if isinstance(output, list) else [(output, None)]
    for segment, part, (distribution, _) in zip(segments, parts, given, strict=True):
        if part is not None and not fixes_parameter(distribution):
            of_theta[segment.columns] = part
    return loss, gradients, of_theta


def assert_same_gradients(actual, expected, tolerance):
    """Assert that gradients agree, relative to the largest entry of each parameter."""
    for name in Parameters._fields:
        got, wanted = getattr(actual, name), getattr(expected, name)
        if wanted is None:
            assert got is None
        else:
            error, scale = np.abs(got - wanted).max(), np.abs(wanted).max()
            assert error <= tolerance * max(scale, 1e-3), f"d{name}: {error / scale:.2g} off"


def mixed_output(n_features, seed):
    """Return an output that assigns random columns to random distributions, some with options."""
    random = np.random.default_rng(seed)
    columns, output = random.permutation(n_features), []
    while len(columns):
        n = int(random.integers(1, len(columns) + 1))
        name = str(random.choice(list(OUTPUTS)))
        option, value = FAMILIES[name].option, OUTPUTS[name].example
        given = (name, {option: value}) if option and random.random() < 0.5 else name
        output.append((given, sorted(int(column) for column in columns[:n])))
        columns = columns[n:]
    return output


def output_parameters_of(output, theta):
    """Return the `output_parameters` argument of `ops`: {parameter: (d,)}."""
    segments = reference_outputs.segments(reference_output(output), len(theta))
    names = [FAMILIES[segment.name].parameter for segment in segments]
    return {name: theta for name in names if name}


def into_domain(X, output):
    """Map real data into the domain of the output, row by row.

    Data that is not finite and real is returned unchanged for the estimator to check. The result is
    dense.
    """
    if sparse.issparse(X):
        return into_domain(X.toarray(), output)
    kind = np.asarray(X).dtype.kind
    if kind not in "biufO":
        return X
    try:
        values = np.asarray(
            X, np.float64 if kind == "O" else np.result_type(np.asarray(X), np.float32)
        )
    except (TypeError, ValueError):
        return X
    if values.ndim != 2 or values.shape[1] == 0 or not np.isfinite(values).all():
        return X
    output = output[0] if isinstance(output, tuple) else output
    if output == "categorical":
        mapped = np.eye(values.shape[1])[values.argmax(axis=1)]
    elif output in ("poisson", "negative_binomial", "multinomial"):
        mapped = np.floor(4.0 * expit(values))
    elif output in ("gamma", "exponential"):
        mapped = np.logaddexp(0.0, values) + 1e-3
    elif isinstance(output, list):
        mapped = expit(values)
        mapped[:, 1:] = np.floor(4.0 * mapped[:, 1:])
    else:
        mapped = expit(values)
    mapped = mapped.astype(values.dtype)
    return X.where(np.zeros_like(mapped, bool), mapped) if hasattr(X, "where") else mapped


class DomainAutoencoder(aefast.Autoencoder):
    """Autoencoder that maps its input into the domain of its output.

    With it, checks made for real data can test every output.
    """

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(into_domain(X, self.output), y, sample_weight)

    def partial_fit(self, X, y=None, sample_weight=None):
        return super().partial_fit(into_domain(X, self.output), y, sample_weight)

    def transform(self, X):
        return super().transform(into_domain(X, self.output))

    def reconstruct(self, X):
        return super().reconstruct(into_domain(X, self.output))

    def score_samples(self, X):
        return super().score_samples(into_domain(X, self.output))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = False
        return tags

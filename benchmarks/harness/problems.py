"""Named shapes, their data and initial weights, and the float64 reference implementation."""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import numpy as np

LEARNING_RATES = {"sgd": 1e-2, "adam": 1e-3}
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of Adam, for every rival

# A data set has 2 to 50 batches and, beyond 2 batches, at most MAX_VALUES values (8 MiB). It has
# several batches so that none stays in the nearest cache, and few so that a run of all rivals is
# short.
MAX_VALUES, MIN_BATCHES, MAX_BATCHES = 2**21, 2, 50


def textbook(estimator):
    """Return parameters that make an estimator the textbook's network, whatever its defaults.

    The class may be that of an earlier revision, which knows no other network.
    """
    wanted = {"gain": False, "init": "glorot", "learning_rate_schedule": "constant"}
    return {name: wanted[name] for name in wanted if name in signature(estimator).parameters}


@dataclass(frozen=True)
class Shape:
    """Sizes of one training step; ``n_samples`` is the number of rows in a batch."""

    name: str
    n_features: int
    n_components: int
    n_samples: int

    @property
    def flop_per_step(self):
        """Number of operations in the five products of 2ndk each: A, Â, dH and two terms of dW."""
        return 10 * self.n_samples * self.n_features * self.n_components

    @property
    def n_batches(self):
        fitting = MAX_VALUES // (self.n_samples * self.n_features)
        return min(max(fitting, MIN_BATCHES), MAX_BATCHES)

    @property
    def label(self):
        return f"{self.n_features} x {self.n_components}, {self.n_samples}"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny", 30, 16, 32),
        Shape("digits", 64, 32, 32),
        Shape("patches", 64, 100, 200),
        Shape("mnist-20", 784, 500, 20),
        Shape("mnist-128", 784, 500, 128),
        Shape("mnist-512", 784, 1000, 512),
        Shape("large", 2048, 2048, 1024),
    )
}


def parse_shape(text):
    """Return the shape of that name, or of sizes written ``DxKxN``."""
    if text in SHAPES:
        return SHAPES[text]
    sizes = text.split("x")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise ValueError(f"shape: expected one of {', '.join(SHAPES)} or DxKxN, got {text!r}")
    return Shape(text, *map(int, sizes))


@dataclass(frozen=True)
class Problem:
    """Input of a rival, with all arrays in float32.

    It has rows ``X (n_batches * n_samples, d)`` in [0, 1], initial weights ``W (k, d)``, ``b (k,)``
    and ``c (d,)``, and the solver.
    """

    shape: Shape
    X: np.ndarray
    W: np.ndarray
    b: np.ndarray
    c: np.ndarray
    solver: str
    precision: str = "float32"  # of the products alone; data and parameters are float32

    @property
    def n_batches(self):
        return len(self.X) // self.shape.n_samples

    @property
    def learning_rate(self):
        return LEARNING_RATES[self.solver]

    @property
    def batches(self):
        """The mini-batches as one array ``(n_batches, n_samples, d)``: a view of ``X``."""
        return self.X.reshape(self.n_batches, self.shape.n_samples, self.shape.n_features)


def make_problem(shape, solver="sgd", *, precision="float32", n_batches=None, pixels=None, seed=0):
    """Make the problem of a shape, a function of the arguments alone.

    The rows are cut from ``pixels``, a flat array of values in [0, 1] (see `load_pixels`), or are
    uniform random numbers. The biases are small random numbers, because a rival that ignored them
    would pass the checks if they were zero.
    """
    rng = np.random.default_rng(seed)
    d, k = shape.n_features, shape.n_components
    n_rows = (n_batches or shape.n_batches) * shape.n_samples
    if pixels is None:
        X = rng.random((n_rows, d), dtype=np.float32)
    else:
        X = np.resize(pixels, (n_rows, d))
    bound = 4 * np.sqrt(6 / (d + k))
    W = rng.uniform(-bound, bound, (k, d)).astype(np.float32)
    b = rng.normal(0, 0.1, k).astype(np.float32)
    c = rng.normal(0, 0.1, d).astype(np.float32)
    return Problem(shape, X, W, b, c, solver, precision)


def load_pixels(source):
    """Return the values of ``PATH.npz`` or ``PATH.npz:KEY``, flat, as float32 in [0, 1].

    Integers are divided by 255.
    """
    path, _, key = str(source).partition(".npz:")
    with np.load(Path(f"{path}.npz" if key else path), allow_pickle=False) as arrays:
        values = arrays[key or arrays.files[0]]
    scale = 255 if np.issubdtype(values.dtype, np.integer) else 1
    values = np.ravel(values).astype(np.float32) / np.float32(scale)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"{source}: expected values in [0, 1], got {values.min()} to {values.max()}"
        )
    return values


def reference_forward(X, parameters, *, tied=True, output="bernoulli"):
    """Return the loss in nats, ``H`` and ``dA_hat``, in float64.

    The loss is the mean over rows of the sum over features.
    ``parameters`` maps ``W``, ``b``, ``c`` and, when untied, ``V`` (the decoder) to arrays.
    """
    W, b, c = (parameters[name] for name in "Wbc")
    H = 1 / (1 + np.exp(-(X @ W.T + b)))
    A_hat = H @ (W if tied else parameters["V"]) + c
    if output == "bernoulli":
        losses = np.logaddexp(0, A_hat) - X * A_hat
        X_hat = 1 / (1 + np.exp(-A_hat))
    else:
        losses = 0.5 * (A_hat - X) ** 2
        X_hat = A_hat
    return losses.sum() / len(X), H, (X_hat - X) / len(X)


def reference_gradients(X, parameters, *, tied=True, output="bernoulli"):
    """Return the gradient of the loss with respect to each parameter, by name, in float64."""
    _, H, dA_hat = reference_forward(X, parameters, tied=tied, output=output)
    V = parameters["W" if tied else "V"]
    dA = (dA_hat @ V.T) * H * (1 - H)
    gradients = {"W": dA.T @ X, "b": dA.sum(axis=0), "c": dA_hat.sum(axis=0)}
    if tied:
        gradients["W"] += H.T @ dA_hat
    else:
        gradients["V"] = H.T @ dA_hat
    return gradients


def initial_parameters(problem, *, tied=True):
    """Return the initial weights in float64; an untied decoder starts from the encoder's."""
    names = ("W", "b", "c")
    parameters = {name: np.array(getattr(problem, name), dtype=np.float64) for name in names}
    return parameters if tied else {**parameters, "V": parameters["W"].copy()}


def reference_loss(problem, **objective):
    """Return the loss of the initial weights on the first batch."""
    parameters = initial_parameters(problem, tied=objective.get("tied", True))
    X = problem.batches[0].astype(np.float64)
    return reference_forward(X, parameters, **objective)[0]


def reference_training(problem, n_steps, **objective):
    """Return the parameters after ``n_steps`` steps through the batches in order."""
    parameters = initial_parameters(problem, tied=objective.get("tied", True))
    first = {name: np.zeros_like(value) for name, value in parameters.items()}
    second = {name: np.zeros_like(value) for name, value in parameters.items()}
    for step in range(1, n_steps + 1):
        X = problem.batches[(step - 1) % problem.n_batches].astype(np.float64)
        for name, g in reference_gradients(X, parameters, **objective).items():
            if problem.solver == "adam":
                first[name] = BETA_1 * first[name] + (1 - BETA_1) * g
                second[name] = BETA_2 * second[name] + (1 - BETA_2) * g**2
                m_hat = first[name] / (1 - BETA_1**step)
                v_hat = second[name] / (1 - BETA_2**step)
                g = m_hat / (np.sqrt(v_hat) + EPSILON)
            parameters[name] -= problem.learning_rate * g
    return parameters

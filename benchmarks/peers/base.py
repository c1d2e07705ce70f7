"""Base class of the rivals, which train on a problem step by step."""

from abc import ABC, abstractmethod
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class BasePeer(ABC):
    """Training of the problem's autoencoder with a library, in the way its experts would use it.

    The file of a rival imports its library inside methods only (except NumPy), because the list of
    rivals must load where none of the libraries is installed.
    """

    name = ""
    requires = ()  # modules that the rival imports
    distributions = ()  # packages of these modules, if their names differ
    tied = True
    output = "bernoulli"
    note = ""  # differences from the other rivals, for the reader of the table

    def __init__(self, problem, n_threads):
        self.problem = problem
        self.n_threads = n_threads

    @classmethod
    def available(cls):
        return all(find_spec(module) is not None for module in cls.requires)

    @classmethod
    def precisions(cls):
        """Return the precisions in which the library can compute products."""
        return ("float32",)

    @classmethod
    def versions(cls):
        found = {}
        for name in cls.distributions or cls.requires:
            try:
                found[name] = version(name)
            except PackageNotFoundError:  # importable from a checkout
                found[name] = "unknown"
        return found

    @classmethod
    def environment(cls, n_threads):
        """Return the environment variables with which the library uses ``n_threads`` threads."""
        return dict.fromkeys(THREAD_VARIABLES, str(n_threads))

    @property
    def steps_per_call(self):
        """Number of steps in one call of the library; timed runs are multiples of it."""
        return 1

    @abstractmethod
    def loss(self):
        """Return the first batch's loss at the initial weights, computed by the training code."""

    @abstractmethod
    def run(self, n_steps):
        """Make ``n_steps`` training steps, batch after batch; return when all are done."""

    def epoch(self):
        """Make one pass over the rows in the way a user would."""
        self.run(self.problem.n_batches)

    @abstractmethod
    def parameters(self):
        """Return the present ``W``, ``b``, ``c`` and, if untied, ``V (k, d)`` as NumPy arrays."""

    def details(self):
        """Return facts that determine the speed, such as a BLAS's kernels, as ``{name: text}``."""
        return {}

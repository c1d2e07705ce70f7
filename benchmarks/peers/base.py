"""Base class of the rivals: it takes a problem and makes training steps."""

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
    """A library, used as its own users would use it well, training the problem's autoencoder.

    A peer's file imports its library inside methods only (NumPy apart): the list of rivals must
    load where none is installed.
    """

    name = ""
    requires = ()  # modules it imports
    distributions = ()  # the packages they come from, where the names differ
    tied = True
    output = "bernoulli"
    note = ""  # what differs from the others, for the reader of the table

    def __init__(self, problem, n_threads):
        self.problem = problem
        self.n_threads = n_threads

    @classmethod
    def available(cls):
        return all(find_spec(module) is not None for module in cls.requires)

    @classmethod
    def precisions(cls):
        """Precisions that the library's products can be asked for."""
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
        """Variables to start the process with, so that the library uses ``n_threads`` threads."""
        return dict.fromkeys(THREAD_VARIABLES, str(n_threads))

    @property
    def steps_per_call(self):
        """Steps that one call of the library makes; runs are timed over multiples of this
        number.
        """
        return 1

    @abstractmethod
    def loss(self):
        """Training loss of the first batch at the initial weights, by the code that trains."""

    @abstractmethod
    def run(self, n_steps):
        """Make ``n_steps`` training steps, batch after batch; return when all are done."""

    def epoch(self):
        """One pass over the rows, as a user would ask for it."""
        self.run(self.problem.n_batches)

    @abstractmethod
    def parameters(self):
        """Present ``W``, ``b``, ``c`` and, when untied, ``V (k, d)`` as NumPy arrays."""

    def details(self):
        """Facts that decide the speed, such as the kernels a BLAS has chosen: ``{name: text}``."""
        return {}

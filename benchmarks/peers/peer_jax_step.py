"""JAX, one training step under jit (gradient, update, donated buffers), in a Python loop."""

from functools import partial

from benchmarks.harness.problems import BETA_1, BETA_2, EPSILON
from benchmarks.peers.base import BasePeer


def loss_of(parameters, X):
    """Return the mean over rows of the cross-entropy, computed from the pre-activations."""
    import jax
    import jax.numpy as jnp

    W, b, c = parameters
    H = jax.nn.sigmoid(X @ W.T + b)
    A_hat = H @ W + c
    return jnp.sum(jax.nn.softplus(A_hat) - X * A_hat) / X.shape[0]


def train_step(state, X, *, solver, learning_rate):
    """Make one step.

    The state is (parameters, first moments, second moments, number of steps).
    """
    import jax
    import jax.numpy as jnp

    parameters, first, second, n_steps = state
    loss, gradients = jax.value_and_grad(loss_of)(parameters, X)
    if solver == "sgd":
        parameters = jax.tree.map(lambda p, g: p - learning_rate * g, parameters, gradients)
        return (parameters, first, second, n_steps), loss
    n_steps = n_steps + 1
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradients)
    correction_1, correction_2 = 1 - BETA_1**n_steps, 1 - BETA_2**n_steps

    def update(p, m, v):
        return p - learning_rate * (m / correction_1) / (jnp.sqrt(v / correction_2) + EPSILON)

    return (jax.tree.map(update, parameters, first, second), first, second, n_steps), loss


class Peer(BasePeer):
    name = "jax-step"
    requires = ("jax", "jaxlib")

    def __init__(self, problem, n_threads):
        super().__init__(problem, n_threads)
        import jax
        import jax.numpy as jnp

        self._jax = jax
        parameters = tuple(jnp.array(start) for start in (problem.W, problem.b, problem.c))
        self._state = (parameters, (), (), jnp.zeros(()))
        if problem.solver == "adam":
            zeros = partial(jax.tree.map, jnp.zeros_like)
            self._state = (parameters, zeros(parameters), zeros(parameters), jnp.zeros(()))
        self._step = partial(train_step, solver=problem.solver, learning_rate=problem.learning_rate)
        self._prepare()

    def _prepare(self):
        self._batches = [self._jax.numpy.array(X) for X in self.problem.batches]
        self._step = self._jax.jit(self._step, donate_argnums=0)

    @classmethod
    def environment(cls, n_threads):
        # XLA takes the size of its thread pool from NPROC, or from the usable cores.
        several = str(n_threads > 1).lower()
        return {
            **super().environment(n_threads),
            "NPROC": str(n_threads),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={several}",
        }

    def loss(self):
        return float(self._jax.jit(loss_of)(self._state[0], self.problem.batches[0]))

    def run(self, n_steps):
        state = self._state
        for step in range(n_steps):
            state, _ = self._step(state, self._batches[step % len(self._batches)])
        self._state = self._jax.block_until_ready(state)

    def parameters(self):
        return dict(zip("Wbc", map(self._jax.device_get, self._state[0]), strict=True))

"""JAX with 50 training steps fused into one compiled `lax.scan`: no Python between the steps.

Fewer steps are fused where 50 would take seconds, because Python's share is negligible there.
"""

from benchmarks.peers import peer_jax_step


class Peer(peer_jax_step.Peer):
    name = "jax-scan"
    max_fused, max_flop = 50, 20e9

    def _prepare(self):
        jax = self._jax
        step = self._step
        self._batches = jax.numpy.array(self.problem.batches)
        n_affordable = int(self.max_flop / self.problem.shape.flop_per_step)
        self._n_fused = min(max(n_affordable, self.problem.n_batches), self.max_fused)

        def steps(state, batches, *, n_steps):
            def body(state, i):
                return step(state, batches[i % len(batches)])

            return jax.lax.scan(body, state, jax.numpy.arange(n_steps))

        self._steps = jax.jit(steps, donate_argnums=0, static_argnames="n_steps")

    @property
    def steps_per_call(self):
        return self._n_fused

    def run(self, n_steps):
        n_calls, n_left = divmod(n_steps, self._n_fused)
        state = self._state
        for n in [self._n_fused] * n_calls + [n_left] * bool(n_left):
            state, _ = self._steps(state, self._batches, n_steps=n)
        self._state = self._jax.block_until_ready(state)

"""aefast through its public estimator."""

import numpy as np

from benchmarks.harness.problems import textbook
from benchmarks.peers.base import BasePeer


class Peer(BasePeer):
    name = "aefast"
    requires = ("aefast",)

    @classmethod
    def precisions(cls):
        from inspect import signature

        import aefast

        knows = "precision" in signature(aefast.Autoencoder).parameters
        return ("float32", "bfloat16") if knows else ("float32",)

    def __init__(self, problem, n_threads):
        super().__init__(problem, n_threads)
        import aefast

        self._aefast = aefast
        options = {} if problem.precision == "float32" else {"precision": problem.precision}
        self._estimator = aefast.Autoencoder(
            problem.shape.n_components,
            output="bernoulli",
            tied=True,
            solver=problem.solver,
            learning_rate=problem.learning_rate,
            momentum=0.0,
            batch_size=problem.shape.n_samples,
            max_epochs=0,
            tol=0.0,
            shuffle=False,  # every rival reads the rows in order
            warm_start=True,
            n_threads=None,  # at most as many as the environment allows, fewer for small steps
            random_state=0,
            **textbook(aefast.Autoencoder),
            **options,
        ).fit(problem.X)
        self._estimator.components_[...] = problem.W
        self._estimator.hidden_bias_[...] = problem.b
        self._estimator.visible_bias_[...] = problem.c

    @property
    def steps_per_call(self):
        return self.problem.n_batches

    def loss(self):
        return float(np.mean(self._estimator.reconstruction_error(self.problem.batches[0])))

    def run(self, n_steps):
        n_epochs, n_left = divmod(n_steps, self.problem.n_batches)
        if n_left:
            raise ValueError(
                f"n_steps: expected whole epochs of {self.problem.n_batches} steps, got {n_steps}"
            )
        self._estimator.set_params(max_epochs=n_epochs).fit(self.problem.X)

    def epoch(self):
        self._estimator.partial_fit(self.problem.X)

    def parameters(self):
        estimator = self._estimator
        return {
            "W": estimator.components_,
            "b": estimator.hidden_bias_,
            "c": estimator.visible_bias_,
        }

    def details(self):
        return {name: str(value) for name, value in self._aefast.build_info().items()}

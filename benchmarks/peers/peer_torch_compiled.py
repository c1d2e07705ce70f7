"""PyTorch with torch.compile: loss, gradient and update of a step in one compiled graph.

Compiling the loss alone, with autograd and the optimizer left eager, is three times slower at small
shapes and no faster at large ones; mode="max-autotune" gains nothing.
"""

from benchmarks.harness.problems import BETA_1, BETA_2, EPSILON
from benchmarks.peers import peer_torch_eager


class Peer(peer_torch_eager.Peer):
    name = "torch-compiled"

    @classmethod
    def precisions(cls):
        return ("float32",)

    def __init__(self, problem, n_threads):
        super().__init__(problem, n_threads)
        torch = self._torch
        self._starts = [torch.from_numpy(start) for start in (problem.W, problem.b, problem.c)]
        self._parameters = [start.clone() for start in self._starts]
        # Adam's moments, and the powers βᵗ as a tensor, because new numbers would be recompiled.
        self._first = [torch.zeros_like(p) for p in self._parameters]
        self._second = [torch.zeros_like(p) for p in self._parameters]
        self._decays = torch.ones(2, dtype=torch.float64)
        step = self._sgd_step if problem.solver == "sgd" else self._adam_step
        self._step = torch.compile(step, dynamic=False)

    def _gradients(self, X):
        gradient = self._torch.func.grad_and_value(self._loss, argnums=(1, 2, 3))
        return gradient(X, *self._parameters)

    def _sgd_step(self, X):
        gradients, loss = self._gradients(X)
        for p, g in zip(self._parameters, gradients, strict=True):
            p.sub_(self.problem.learning_rate * g)
        return loss

    def _adam_step(self, X):
        gradients, loss = self._gradients(X)
        self._decays.mul_(self._torch.tensor([BETA_1, BETA_2], dtype=self._torch.float64))
        correction_1, correction_2 = (1 - self._decays).float()
        for p, g, m, v in zip(self._parameters, gradients, self._first, self._second, strict=True):
            m.mul_(BETA_1).add_((1 - BETA_1) * g)
            v.mul_(BETA_2).add_((1 - BETA_2) * g * g)
            denominator = (v / correction_2).sqrt() + EPSILON
            p.sub_(self.problem.learning_rate * (m / correction_1) / denominator)
        return loss

    def loss(self):
        with self._torch.no_grad():
            loss = self._step(self._batches[0]).item()
            # Undo the update that the step has made.
            for p, start in zip(self._parameters, self._starts, strict=True):
                p.copy_(start)
            for moment in self._first + self._second:
                moment.zero_()
            self._decays.fill_(1)
        return loss

    def run(self, n_steps):
        batches = self._batches
        with self._torch.no_grad():
            for step in range(n_steps):
                self._step(batches[step % len(batches)])

    def parameters(self):
        return {name: p.numpy() for name, p in zip("Wbc", self._parameters, strict=True)}

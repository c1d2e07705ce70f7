"""PyTorch, eager: autograd, cross-entropy from the logits, a fused optimizer."""

from benchmarks.harness.problems import BETA_1, BETA_2, EPSILON
from benchmarks.peers.base import BasePeer


class Peer(BasePeer):
    name = "torch-eager"
    requires = ("torch",)

    @classmethod
    def precisions(cls):
        return ("float32", "bfloat16")

    def __init__(self, problem, n_threads):
        super().__init__(problem, n_threads)
        import torch

        torch.set_num_threads(n_threads)
        self._torch = torch
        self._batches = torch.from_numpy(problem.batches).unbind()
        self._W, self._b, self._c = (
            torch.nn.Parameter(torch.from_numpy(start.copy()))
            for start in (problem.W, problem.b, problem.c)
        )
        parameters, rate = (self._W, self._b, self._c), problem.learning_rate
        if problem.solver == "sgd":
            self._optimizer = torch.optim.SGD(parameters, lr=rate, fused=True)
        else:
            betas = (BETA_1, BETA_2)
            self._optimizer = torch.optim.Adam(
                parameters, lr=rate, betas=betas, eps=EPSILON, fused=True
            )

    def _loss(self, X, W, b, c):
        functional = self._torch.nn.functional
        H = functional.linear(X, W, b).sigmoid()
        A_hat = self._torch.addmm(c, H, W)
        total = functional.binary_cross_entropy_with_logits(A_hat, X, reduction="sum")
        return total / len(X)

    def _loss_as_asked(self, X):
        if self.problem.precision == "float32":
            return self._loss(X, self._W, self._b, self._c)
        with self._torch.autocast("cpu", dtype=self._torch.bfloat16):
            return self._loss(X, self._W, self._b, self._c)

    def loss(self):
        return self._loss_as_asked(self._batches[0]).item()

    def run(self, n_steps):
        batches, optimizer = self._batches, self._optimizer
        for step in range(n_steps):
            loss = self._loss_as_asked(batches[step % len(batches)])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def parameters(self):
        return {
            name: p.detach().numpy()
            for name, p in zip("Wbc", (self._W, self._b, self._c), strict=True)
        }

    def details(self):
        return {"cpu capability": self._torch.backends.cpu.get_cpu_capability()}

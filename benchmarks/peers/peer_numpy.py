"""NumPy with optimised code: float32 throughout, arrays allocated once, operations in place."""

import numpy as np

from benchmarks.harness.problems import BETA_1, BETA_2, EPSILON
from benchmarks.peers.base import BasePeer


def sigmoid_in_place(A):
    # np.exp is vectorised in float32, scipy.special.expit is not.
    np.negative(A, out=A)
    with np.errstate(over="ignore"):
        np.exp(A, out=A)
    A += 1
    np.reciprocal(A, out=A)


class Peer(BasePeer):
    name = "numpy"
    requires = ("numpy",)

    def __init__(self, problem, n_threads):
        super().__init__(problem, n_threads)
        n, d, k = problem.shape.n_samples, problem.shape.n_features, problem.shape.n_components
        self._W, self._b, self._c = problem.W.copy(), problem.b.copy(), problem.c.copy()
        # Operands of the tied gradient dAᵀ X + Hᵀ dÂ as one product of depth 2n, [dA; H]ᵀ [X; dÂ].
        self._left = np.empty((2 * n, k), np.float32)
        self._right = np.empty((2 * n, d), np.float32)
        self._A_hat = np.empty((n, d), np.float32)
        self._scratch = np.empty((n, d), np.float32)
        self._H_complement = np.empty((n, k), np.float32)
        self._parameters = (self._W, self._b, self._c)
        self._gradients = tuple(np.empty_like(p) for p in self._parameters)
        self._first = tuple(np.zeros_like(p) for p in self._parameters)
        self._second = tuple(np.zeros_like(p) for p in self._parameters)
        self._squares = tuple(np.empty_like(p) for p in self._parameters)
        self._n_steps = 0

    def _loss_and_gradients(self, X):
        n = len(X)
        dA, H = self._left[:n], self._left[n:]
        X_copy, dA_hat = self._right[:n], self._right[n:]
        A_hat, scratch, H_complement = self._A_hat, self._scratch, self._H_complement
        dW, db, dc = self._gradients

        np.dot(X, self._W.T, out=H)
        H += self._b
        sigmoid_in_place(H)
        np.dot(H, self._W, out=A_hat)
        A_hat += self._c
        np.copyto(dA_hat, A_hat)
        sigmoid_in_place(dA_hat)  # X̂

        # The loss is max(â, 0) - x â + log1p(exp(-|â|)). Its last term, -log max(x̂, 1 - x̂), needs
        # no further exponential.
        loss = -np.vdot(X, A_hat)
        np.maximum(A_hat, 0, out=scratch)
        loss += scratch.sum()
        np.subtract(1, dA_hat, out=scratch)
        np.maximum(scratch, dA_hat, out=scratch)
        np.log(scratch, out=scratch)
        loss -= scratch.sum()

        dA_hat -= X
        dA_hat *= np.float32(1 / n)
        np.sum(dA_hat, axis=0, out=dc)
        np.dot(dA_hat, self._W.T, out=dA)
        dA *= H
        np.subtract(1, H, out=H_complement)
        dA *= H_complement
        np.sum(dA, axis=0, out=db)
        np.copyto(X_copy, X)
        np.dot(self._left.T, self._right, out=dW)
        return loss / n

    def _update(self):
        rate = self.problem.learning_rate
        self._n_steps += 1
        if self.problem.solver == "sgd":
            for p, g in zip(self._parameters, self._gradients, strict=True):
                g *= np.float32(rate)
                p -= g
            return
        # The bias corrections of m̂ / (sqrt(v̂) + ε) are moved into two scalars.
        root_correction = np.sqrt(1 - BETA_2**self._n_steps)
        rate = np.float32(rate * root_correction / (1 - BETA_1**self._n_steps))
        epsilon = np.float32(EPSILON * root_correction)
        moments = zip(
            self._parameters, self._gradients, self._first, self._second, self._squares, strict=True
        )
        for p, g, m, v, square in moments:
            np.multiply(g, g, out=square)
            square *= np.float32(1 - BETA_2)
            v *= np.float32(BETA_2)
            v += square
            g *= np.float32(1 - BETA_1)
            m *= np.float32(BETA_1)
            m += g
            np.sqrt(v, out=square)
            square += epsilon
            np.divide(m, square, out=square)
            square *= rate
            p -= square

    def loss(self):
        return float(self._loss_and_gradients(self.problem.batches[0]))

    def run(self, n_steps):
        batches = self.problem.batches
        for step in range(n_steps):
            self._loss_and_gradients(batches[step % len(batches)])
            self._update()

    def parameters(self):
        return {"W": self._W, "b": self._b, "c": self._c}

    def details(self):
        from threadpoolctl import threadpool_info

        return {
            pool["internal_api"]: f"{pool['version']} {pool.get('architecture', '')}".strip()
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        }

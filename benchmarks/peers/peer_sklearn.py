"""scikit-learn's MLPRegressor, trained to reproduce its input.

It is the network of scikit-learn that is closest to the problem's, but not the same. It has a
sigmoid hidden layer, but untied weights and a linear output with the squared error (MLPClassifier
has the cross-entropy, but only for targets 0 and 1). A step has the same 10ndk operations without
the exponential of the output. Its loss and updates are compared with a reference of its objective.
"""

from benchmarks.harness.problems import BETA_1, BETA_2, EPSILON
from benchmarks.peers.base import BasePeer


class Peer(BasePeer):
    name = "sklearn"
    requires = ("sklearn",)
    distributions = ("scikit-learn",)
    tied = False
    output = "gaussian"
    note = "MLPRegressor: untied weights and squared error, the nearest it offers"

    def __init__(self, problem, n_threads):
        super().__init__(problem, n_threads)
        from sklearn.neural_network import MLPRegressor

        self._regressor = MLPRegressor(
            hidden_layer_sizes=(problem.shape.n_components,),
            activation="logistic",
            solver=problem.solver,
            alpha=0.0,
            batch_size=problem.shape.n_samples,
            learning_rate_init=problem.learning_rate,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=False,
            beta_1=BETA_1,
            beta_2=BETA_2,
            epsilon=EPSILON,
        )
        self._fit_batches(1)  # allocates the arrays; `_restart` sets the initial weights
        self._restart()

    def _restart(self):
        W, b, c = self.problem.W, self.problem.b, self.problem.c
        regressor = self._regressor
        for parameter, value in zip(
            regressor.coefs_ + regressor.intercepts_, (W.T, W, b, c), strict=True
        ):
            parameter[...] = value
        del regressor._optimizer  # partial_fit creates a new one

    def _fit_batches(self, n_batches):
        rows = self.problem.X[: n_batches * self.problem.shape.n_samples]
        self._regressor.partial_fit(rows, rows)

    @property
    def steps_per_call(self):
        return self.problem.n_batches

    def loss(self):
        self._fit_batches(1)
        self._restart()
        # MLPRegressor reports the mean over features, but follows the gradient of the sum.
        return self._regressor.loss_ * self.problem.shape.n_features

    def run(self, n_steps):
        n_passes, n_left = divmod(n_steps, self.problem.n_batches)
        for _ in range(n_passes):
            self._fit_batches(self.problem.n_batches)
        if n_left:
            self._fit_batches(n_left)

    def parameters(self):
        (W_transposed, V), (b, c) = self._regressor.coefs_, self._regressor.intercepts_
        return {"W": W_transposed.T, "V": V, "b": b, "c": c}

"""The column means' loss of reports, beside a slow computation with SciPy's minimisation."""

import numpy as np
import pytest
from reference import outputs as reference
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning

from aefast import Autoencoder, AutoencoderEnsemble, TableAutoencoder

COLUMNS = {
    "gaussian_diagonal": [0, 1],
    "student_t": [2],
    "gamma": [3],
    "negative_binomial": [4],
    "poisson": [5],
    "bernoulli": [6],
    "categorical": [7, 8, 9],
}
LINKS = {"gamma": np.log, "negative_binomial": np.log, "poisson": np.log, "categorical": np.log}
LINKS["bernoulli"] = lambda mean: np.log(mean / (1 - mean))


def mixed_rows(n=400, seed=0):
    """Return rows whose columns nearly follow from one number, of very different variances."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1))
    reals = z * [1.0, 30.0, 5.0] + 0.03 * rng.normal(size=(n, 3))
    counts = rng.poisson(np.exp(z + np.array([2, 1])))
    amounts = np.exp(z + 0.1 * rng.normal(size=(n, 1)))
    kinds = np.eye(3)[np.digitize(z[:, 0], [-0.5, 0.5])]
    return np.hstack([reals, amounts, counts, z > 0, kinds]).astype(float)


def slow_loss_of_means(X, weight, units):
    """Return the mean loss of weighted column means with the best parameter of each column."""
    weight = np.ones(len(X)) if weight is None else weight
    observed = weight[:, np.newaxis] * ~np.isnan(X)
    means = np.nansum(weight[:, np.newaxis] * X, axis=0) / observed.sum(axis=0)
    X, means = (X - units.shift) / units.scale, (means - units.shift) / units.scale
    total = 0.0
    for name, columns in COLUMNS.items():
        for group in [columns] if name == "categorical" else [[j] for j in columns]:
            eta = np.tile(LINKS.get(name, lambda mean: mean)(means[group]), (len(X), 1))

            def loss(theta, name=name, group=group, eta=eta):
                output = [(name, np.arange(len(group)), None, theta)]
                with np.errstate(over="ignore"):
                    losses = reference.losses(X[:, group], eta, output)
                return np.sum(weight * losses.reshape(len(X), -1).sum(axis=1)) / weight.sum()

            total += minimize_scalar(loss, bounds=(-15, 15), options={"xatol": 1e-8}).fun
    return total


@pytest.mark.parametrize("case", ["whole", "gaps", "weights", "gaps and weights"])
def test_loss_of_column_means(case):
    X, rng, weight = mixed_rows(), np.random.default_rng(1), None
    if "gaps" in case:
        X[:, :7][rng.random((len(X), 7)) < 0.2] = np.nan
        X[rng.random(len(X)) < 0.2, 7:] = np.nan
    if "weights" in case:
        weight = rng.integers(0, 4, len(X)).astype(float)
    ae = Autoencoder(
        3,
        output=list(COLUMNS.items()),
        scale="standard",
        missing="mask",
        max_epochs=30,
        random_state=0,
    ).fit(X, sample_weight=weight)
    found = ae.fit_report_["constant_loss"]
    assert found == pytest.approx(slow_loss_of_means(X, weight, ae._state.scaling), rel=1e-6)
    assert ae.fit_report_["loss"] < found


def test_a_fit_with_small_variances_has_to_beat_the_means():
    """Variances of a bad fit, under which means look worse, do not hide that it is bad."""
    X = np.random.default_rng(0).normal(size=(300, 6))
    ae = Autoencoder(2, output="gaussian_diagonal", max_epochs=5, learning_rate=3.0, gain=False)
    with pytest.warns(ConvergenceWarning, match="does not beat the column means"):
        ae.set_params(random_state=0, learning_rate_schedule="constant").fit(X)
    variances = X.var(axis=0)
    expected = 0.5 * np.sum(np.log(variances) + 1)
    assert ae.fit_report_["constant_loss"] == pytest.approx(expected, abs=6 * 2e-6)


def test_reports_of_tables_and_ensembles():
    z = np.random.default_rng(0).normal(size=(300, 1))
    X = z * [1.0, 2.0, 3.0] + 0.01 * np.random.default_rng(1).normal(size=(300, 3))
    report = TableAutoencoder(Autoencoder(2, random_state=0)).fit(X).autoencoder_.fit_report_
    assert report["constant_loss"] == pytest.approx(1.5, abs=1e-5)  # of standardised columns
    ensemble = AutoencoderEnsemble(
        2, output="gaussian_diagonal", max_features=1.0, scale="standard", random_state=0
    )
    assert ensemble.fit(X).fit_report_["constant_loss"] == pytest.approx(1.5, abs=1e-5)

"""Models as C99 headers: compiled with all warnings, compared with the model row by row."""

import shutil
import subprocess

import numpy as np
import pytest
from support.tables import mixed_table

import aefast

GCC = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(GCC is None, reason="no C compiler")

PROGRAM = """
#include <stdio.h>
#include "model.h"

int main(void)
{
    enum { D = M_N_FEATURES, K = M_N_COMPONENTS };
    float x[D], h[K], x_hat[D];
    (void)x_hat;
    while (fread(x, sizeof x, 1, stdin) == 1) {
        m_encode(x, h);
        fwrite(h, sizeof h, 1, stdout);
#ifdef RECONSTRUCTS
        m_reconstruct(x, x_hat);
        fwrite(x_hat, sizeof x_hat, 1, stdout);
#endif
#ifdef DECODES
        m_decode(h, x_hat);
        fwrite(x_hat, sizeof x_hat, 1, stdout);
#endif
#ifdef SCORES
        float score = m_score(x);
        fwrite(&score, sizeof score, 1, stdout);
#endif
    }
    return 0;
}
"""
METHODS = {"RECONSTRUCTS": "reconstruct", "DECODES": None, "SCORES": "score_samples"}


def results_in_c(model, X, folder, has):
    """Compile the header without a warning, run it on the rows, and return its results by name."""
    aefast.export_c(model, folder / "model.h", name="m")
    (folder / "main.c").write_text(PROGRAM)
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    flags += [f"-D{name}" for name in has]
    program = folder / "main"
    subprocess.run([GCC, *flags, folder / "main.c", "-o", program, "-lm"], check=True)
    raw = subprocess.run([program], input=X.tobytes(), capture_output=True, check=True).stdout
    k, d = model.transform(X[:1]).shape[1], X.shape[1]
    widths = {"codes": k} | {name: 1 if name == "SCORES" else d for name in has}
    values = np.frombuffer(raw, np.float32).reshape(len(X), sum(widths.values()))
    parts = np.split(values, np.cumsum(list(widths.values()))[:-1], axis=1)
    return dict(zip(widths, parts, strict=True))


def compare(model, X, folder, has=("RECONSTRUCTS", "DECODES", "SCORES"), rtol=2e-4):
    X = np.asarray(X, np.float32)
    found = results_in_c(model, X, folder, has)
    H = model.transform(X)
    expected = {"codes": H}
    if "RECONSTRUCTS" in has:
        expected["RECONSTRUCTS"] = model.reconstruct(X)
    if "DECODES" in has:
        expected["DECODES"] = model.inverse_transform(H)
    if "SCORES" in has:
        expected["SCORES"] = model.score_samples(X)[:, None]
    for name, values in expected.items():
        scale = np.abs(values).mean() + 1e-6
        np.testing.assert_allclose(found[name], values, rtol=rtol, atol=rtol * scale, err_msg=name)


def test_every_distribution(tmp_path):
    X, output = mixed_table()
    model = aefast.Autoencoder(4, output=output, max_epochs=30, random_state=0).fit(X)
    compare(model, X, tmp_path)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus", "elu", "linear"])
def test_every_activation(activation, tmp_path):
    X = np.random.default_rng(0).random((40, 7), np.float32)
    options = {"tied": False, "activation": activation, "max_epochs": 3, "random_state": 0}
    compare(aefast.Autoencoder(3, output="bernoulli", **options).fit(X), X, tmp_path)


def test_missing_entries_and_largest_codes(tmp_path):
    X = np.random.default_rng(0).normal(5, 3, (80, 9)).astype(np.float32)
    X[::3, 4] = np.nan
    options = {"missing": "mask", "top_k": 2, "max_epochs": 5, "random_state": 0}
    compare(aefast.Autoencoder(6, **options).fit(X), X, tmp_path)


@pytest.mark.parametrize("options", [{"output": "multinomial"}, {"scale": "standard"}])
def test_rows_divided_by_their_norms(options, tmp_path):
    X = np.random.default_rng(0).poisson(2, (80, 9)).astype(np.float32)
    X[3] = 0
    options = {"row_norm": "l2", "tied": False, "max_epochs": 5, "random_state": 0} | options
    compare(aefast.Autoencoder(4, **options).fit(X), X, tmp_path)


@pytest.mark.parametrize("options", [{}, {"tied": False}, {"top_k": 2}], ids=str)
def test_layers(options, tmp_path):
    X = np.random.default_rng(0).normal(5, 3, (80, 9)).astype(np.float32)
    model = aefast.StackedAutoencoder([6, 3], max_epochs=5, random_state=0, **options).fit(X)
    compare(model, X, tmp_path)


def test_linear_models(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 4)) @ np.random.default_rng(1).normal(size=(4, 8))
    X += 0.3 * np.random.default_rng(2).normal(size=X.shape) + 2
    oblique = aefast.FactorAnalysis(2, rotation="promax").fit(X)
    for model in (aefast.ProbabilisticPCA(2).fit(X), oblique):
        compare(model, X, tmp_path)
    compare(aefast.Whitening("pca").fit(X), X, tmp_path, has=("DECODES",))
    compare(aefast.MarginalizedAutoencoder().fit(X), X, tmp_path, has=("RECONSTRUCTS",))
    compare(aefast.ItemAutoencoder().fit(abs(X)), abs(X), tmp_path, has=())


def test_refusals_leave_the_file_alone(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 4))
    path = tmp_path / "model.h"
    path.write_text("before")
    model = aefast.Autoencoder(2, max_epochs=1).fit(X)
    with pytest.raises(ValueError, match="name must be a C identifier"):
        aefast.export_c(model, path, name="2nd")
    with pytest.raises(TypeError, match="SparseCoder cannot be exported"):
        aefast.export_c(aefast.SparseCoder(np.eye(4)), path)
    huge = aefast.ProbabilisticPCA(1).fit(1e100 * X)
    with pytest.raises(ValueError, match="overflows float32"):
        aefast.export_c(huge, path)
    assert path.read_text() == "before"


def test_a_users_distribution_is_refused(tmp_path):
    from aefast.distributions import Distribution

    class Logistic(Distribution):
        def mean(self, eta):
            return eta

        def link(self, mean):
            return mean

        def loss(self, eta, x):
            half = (x - eta) / 2
            return 2 * np.logaddexp(half, -half), -np.tanh(half)

        def sample(self, eta, random):
            return random.logistic(eta)

    X = np.random.default_rng(0).normal(size=(50, 4))
    model = aefast.Autoencoder(2, output=Logistic(), max_epochs=1).fit(X)
    with pytest.raises(ValueError, match="'Logistic' is a user-defined distribution"):
        aefast.export_c(model, tmp_path / "model.h")

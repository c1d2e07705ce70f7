"""The estimator with every distribution: likelihoods, samples, gaps, files and refusals.

scikit-learn's checks and the table of the guide are looked at too.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reference import autoencoder as reference
from reference import outputs as reference_outputs
from reference.autoencoder import Parameters
from reference.distributions import OUTPUTS
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.problems import (
    ALL_OUTPUTS,
    MIXED,
    DomainAutoencoder,
    reference_output,
    reference_output_with_thetas,
    rows_of,
    with_gaps,
)
from support.textbook import Autoencoder

import aefast
from aefast import ops
from aefast.distributions import distribution_table

D, K = 9, 5


# ---- the estimator ----


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_likelihoods_match_the_reference(name, gaps, isa):
    """With constants, by row and by column; reconstructions, of as many trials as a row has."""
    output = ALL_OUTPUTS[name]
    X = rows_of(output, 200)
    options = {"missing": "mask"} if gaps else {}
    X = with_gaps(X, output) if gaps else X
    ae = Autoencoder(K, output=output, max_epochs=5, random_state=0, **options).fit(X)
    theta = np.zeros(D)
    for values in ae.output_parameters_.values():
        theta = np.where(np.isnan(values), theta, values)
    expected_output = reference_output_with_thetas(output, theta)
    parameters = Parameters(ae.components_, ae.hidden_bias_, ae.visible_bias_)
    fill = {"fill": np.nanmean(X, axis=0)} if gaps else {}
    expected = reference.log_likelihood(X, parameters, expected_output, **fill)
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=1e-10, atol=1e-10)
    assert ae.score(X) == pytest.approx(expected.mean(), rel=1e-10)
    by_column = reference.log_likelihood(X, parameters, expected_output, per_feature=True, **fill)
    np.testing.assert_allclose(
        ae.score_samples(X, per_feature=True), by_column, rtol=1e-9, atol=1e-10
    )
    losses = reference.entry_losses(X, parameters, expected_output, **fill)
    np.testing.assert_allclose(
        ae.reconstruction_error(X, per_feature=True), losses, rtol=1e-9, atol=1e-10
    )
    means = reference.forward(X, parameters, expected_output, **fill).X_hat
    np.testing.assert_allclose(ae.reconstruct(X), means, rtol=1e-9, atol=1e-10)
    if gaps:
        filled = ae.impute(X)
        np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
        np.testing.assert_allclose(filled[np.isnan(X)], means[np.isnan(X)], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_training_improves_every_likelihood(name):
    """On rows that have something in common; what is learnt per column moves too."""
    output = ALL_OUTPUTS[name]
    X = rows_of(output, 300)
    X[::2] = X[0]
    ae = Autoencoder(K, output=output, learning_rate=0.02, max_epochs=60, tol=0, random_state=0)
    start = clone(ae).set_params(max_epochs=0).fit(X)
    ae.fit(X)
    assert ae.score(X) > start.score(X) + 0.1
    for key, values in ae.output_parameters_.items():
        learnt = ~np.isnan(values)
        assert learnt.any()
        if name != "mixed":
            assert (values[learnt] != start.output_parameters_[key][learnt]).all()


@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_samples_are_of_the_codes(name):
    """The mean of samples is `inverse_transform`; a seed draws them again."""
    output = ALL_OUTPUTS[name]
    X = rows_of(output, 60)
    ae = Autoencoder(K, output=output, learning_rate=0.01, max_epochs=10, random_state=0).fit(X)
    H = np.repeat(ae.transform(X[:1]), 20_000, axis=0)
    drawn, mean = ae.sample_output(H, random_state=1), ae.inverse_transform(H[:1])[0]
    assert drawn.shape == (20_000, D)
    error = drawn.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(drawn.mean(axis=0) - mean) <= 6 * error + 1e-9).all()
    np.testing.assert_array_equal(drawn, ae.sample_output(H, random_state=1))
    assert not np.array_equal(drawn, ae.sample_output(H, random_state=2))


def test_a_constant_column_has_a_finite_likelihood():
    X = np.random.default_rng(0).normal(size=(200, 3))
    X[:, 1] = 5.0
    ae = Autoencoder(1, output=("gaussian_diagonal", {"floor": 1e-4}), learning_rate=0.05, tol=0)
    ae.set_params(max_epochs=400, random_state=0).fit(X)
    variance = 1e-4 + np.exp(ae.output_parameters_["log_variance"])
    assert variance[1] < 1e-2 < 0.1 < variance[[0, 2]].max()
    assert np.isfinite(ae.score_samples(X)).all()
    assert ae.score_samples(X, per_feature=True)[:, 1].max() < 0.5 * np.log(1 / 1e-4)


@pytest.mark.parametrize("nothing", [[], slice(2, None), [False, False]], ids=str)
def test_a_selection_of_no_columns_is_left_out(nothing):
    X = np.random.default_rng(0).random((20, 2))
    ae = Autoencoder(2, output="bernoulli", max_epochs=1, random_state=0)
    other = Autoencoder(2, output=[("bernoulli", [0, 1]), ("categorical", nothing)], max_epochs=1)
    np.testing.assert_array_equal(
        ae.fit(X).transform(X), other.set_params(random_state=0).fit(X).transform(X)
    )


def test_columns_by_name_slice_mask_and_number():
    X = rows_of(MIXED, 40)
    names = [f"c{i}" for i in range(D)]
    frame = pd.DataFrame(X, columns=names)
    by_name = [(given, [names[i] for i in columns]) for given, columns in MIXED]
    by_mask = [(given, [i in columns for i in range(D)]) for given, columns in MIXED]
    by_array = [(given, np.isin(np.arange(D), columns)) for given, columns in MIXED]
    options = {"max_epochs": 2, "random_state": 0}
    expected = Autoencoder(K, output=MIXED, **options).fit(X).components_
    for table, output in ((frame, by_name), (X, by_mask), (X, by_array), (frame, MIXED)):
        ae = Autoencoder(K, output=output, **options).fit(table)
        np.testing.assert_array_equal(ae.components_, expected)
    one_name = [("bernoulli", "c0"), ("gaussian", slice(1, None))]
    Autoencoder(K, output=one_name, **options).fit(frame)


@pytest.mark.parametrize("name", ["mixed", "negative_binomial"])
def test_files_keep_outputs(name, path):
    output = ALL_OUTPUTS[name]
    X = with_gaps(rows_of(output, 50), output)
    ae = Autoencoder(K, output=output, missing="mask", max_epochs=3, random_state=0).fit(X)
    ae.save(path)
    again = aefast.load(path)
    np.testing.assert_array_equal(again.score_samples(X), ae.score_samples(X))
    np.testing.assert_array_equal(again.impute(X), ae.impute(X))
    for key, values in ae.output_parameters_.items():
        np.testing.assert_array_equal(again.output_parameters_[key], values)
    ae.partial_fit(X), again.partial_fit(X)
    np.testing.assert_array_equal(again.components_, ae.components_)


# ---- what is refused, and how ----


@pytest.mark.parametrize(
    "output, message",
    [
        ("poison", r"output must be one of \['gaussian'"),
        (("huber", {"epsilon": 1.0}), r"no option \['epsilon'\]: it has \['delta'\]"),
        (("huber", {"delta": 0.0}), "must be a positive number, got 0.0"),
        (("poisson", {"r": 1.0}), "no option"),
        (
            [("poisson", [0, 1])],
            r"no distribution for column\(s\) \[2, 3, 4, 5, 6\] and 2 more of 9",
        ),
        ([("poisson", slice(0, 9)), ("gaussian", 3)], "names column 3 twice"),
        ([("poisson", 9)], "column 9, but X has 9 columns"),
        ([("poisson", ["age"])], "X has no column names"),
        ([("poisson", [True, False])], "a mask of columns must have 9 entries, got 2"),
        ([], "at least one distribution"),
    ],
)
def test_refused_outputs(output, message):
    with pytest.raises(ValueError, match=message):
        Autoencoder(K, output=output).fit(np.ones((5, D)))


@pytest.mark.parametrize("name", ALL_OUTPUTS)
def test_domain_errors_name_row_column_and_value(name):
    output = ALL_OUTPUTS[name]
    column = 2
    expected_output = next(
        OUTPUTS[s.name]
        for s in reference_outputs.segments(reference_output(output), D)
        if column in s.columns
    )
    bad = [np.inf] if expected_output.low == -np.inf else [-1.5, np.inf]
    bad += [1.5] if expected_output.high == 1.0 else []
    for value in bad:
        X = rows_of(output, 20)
        X[7, column] = value
        said = "infinity" if value == np.inf else f"got {value}"
        for call in (
            lambda X=X: Autoencoder(K, output=output).fit(X),
            lambda X=X: ops.loss(X, np.ones((K, D)), np.zeros(K), np.zeros(D), output=output),
        ):
            with pytest.raises(ValueError, match="row 7, column 2") as error:
                call()
            assert said in str(error.value)


def test_what_is_no_one_hot_row():
    X = np.eye(3)[[0, 1, 2, 1]]
    X[2] = [0.5, 0.1, 0.1]
    with pytest.raises(ValueError, match="one-hot rows, which add up to 1: row 2 of X adds"):
        Autoencoder(2, output="categorical").fit(X)


def test_half_a_group_is_not_missing():
    X = rows_of(MIXED, 20)
    X[11, [1, 4]] = np.nan  # of 1, 4 and 6
    ae = Autoencoder(K, output=MIXED, missing="mask")
    with pytest.raises(ValueError, match="in row 11 of X only part of the group is missing"):
        ae.fit(X)
    X[11, 6] = np.nan
    ae.fit(X)


def test_missing_entries_are_asked_for():
    X = rows_of("poisson", 20)
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN at row 3, column 2"):
        Autoencoder(K, output="poisson").fit(X)
    with pytest.raises(ValueError, match="missing='mask'"):
        Autoencoder(K).fit(np.ones((5, 3))).impute(np.ones((5, 3)))


@pytest.mark.parametrize(
    "name", [row["name"] for row in distribution_table() if row["link"] == "log"]
)
def test_overflow_of_log_links_names_the_column(name):
    """exp(η) leaves float32 at 88: an error that names the column, no infinity."""
    W, c = np.zeros((K, D), np.float32), np.zeros(D, np.float32)
    c[6] = 90.0
    with pytest.raises(FloatingPointError, match="column 6"):
        ops.decode(np.zeros((3, K), np.float32), W, c, output=name)
    c[6] = 88.0
    assert np.isfinite(ops.decode(np.zeros((3, K), np.float32), W, c, output=name)).all()


# ---- scikit-learn's checks, on data of each domain ----


@parametrize_with_checks(
    [
        *(
            DomainAutoencoder(4, init="glorot", batch_size=128, max_epochs=3, output=name)
            for name in OUTPUTS
        ),
        DomainAutoencoder(
            4, init="glorot", batch_size=128, max_epochs=3, output=("gamma", {"shape": 2.0})
        ),
        DomainAutoencoder(
            4,
            batch_size=128,
            max_epochs=3,
            output=[("bernoulli", slice(0, 1)), ("poisson", slice(1, None))],
        ),
        *(
            Autoencoder(4, max_epochs=3, output=name)  # whose domain scikit-learn's data can have
            for name in ("poisson", "negative_binomial", "exponential", "multinomial")
        ),
    ]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


# ---- the guide ----


def test_the_guide_lists_every_distribution():
    page = (Path(__file__).parents[2] / "docs" / "guide" / "recipe.md").read_text(encoding="utf-8")
    rows = re.findall(r'^\| `"(\w+)"` \|', page, re.MULTILINE)
    assert sorted(rows) == sorted(row["name"] for row in distribution_table())
    for row in distribution_table():
        if row["option"]:
            assert f'"{row["option"]}"' in page


def test_columns_are_selected_by_slices_of_names_and_by_callables(tmp_path):
    import pandas as pd
    from sklearn.compose import make_column_selector

    rng = np.random.default_rng(0)
    counts = pd.DataFrame(rng.poisson(2, (60, 3)), columns=list("abc"))
    frame = counts.assign(x=rng.normal(size=60), y=rng.normal(size=60))
    options = {"max_epochs": 2, "random_state": 0}
    expected = Autoencoder(2, output=[("poisson", [0, 1, 2]), ("gaussian", [3, 4])], **options)
    expected.fit(frame)
    selector = make_column_selector(dtype_include="integer")
    for output in (
        [("poisson", slice("a", "c")), ("gaussian", slice("x", None))],
        [("poisson", selector), ("gaussian", lambda X: ["x", "y"])],
    ):
        ae = Autoencoder(2, output=output, **options).fit(frame)
        np.testing.assert_array_equal(ae.transform(frame), expected.transform(frame))
        ae.save(tmp_path / "ae.safetensors")
        loaded = aefast.load(tmp_path / "ae.safetensors")
        np.testing.assert_array_equal(loaded.transform(frame), ae.transform(frame))
        ae.partial_fit(frame)
    with pytest.raises(ValueError, match="output names column 'q', which X does not have"):
        Autoencoder(output=[("poisson", slice("a", "q"))]).fit(frame)
    with pytest.raises(TypeError, match="two names without a step"):
        Autoencoder(output=[("poisson", slice("a", 3))]).fit(frame)

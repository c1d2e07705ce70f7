"""Autoencoders of tables: frames in and out, nats of variables, what was not seen, files."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.mixed_frames import (
    LEFT_OUT,
    assert_equal_columns,
    column_of,
    in_library,
    mixed_frame,
    names_of,
)

import aefast
from aefast import Autoencoder, StackedAutoencoder, TableAutoencoder, TableEncoder

pytestmark = pytest.mark.filterwarnings("ignore:columns are left out")
SHORT = Autoencoder(3, max_epochs=2, random_state=0)
NO_VARIABLES = (*LEFT_OUT, "nothing")


def weights_in_batches(estimator):
    return {"check_sample_weight_equivalence_on_dense_data": "batches hold rows, not weight"}


@parametrize_with_checks(
    [TableAutoencoder(Autoencoder(2, max_epochs=2, random_state=0))],
    expected_failed_checks=weights_in_batches,
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.extra
@parametrize_with_checks(
    [
        TableAutoencoder(),
        TableAutoencoder(StackedAutoencoder((3, 2), max_epochs=2, random_state=0)),
    ],
    expected_failed_checks=weights_in_batches,
)
def test_estimator_checks_of_more_networks(estimator, check):
    check(estimator)


@pytest.fixture
def fitted(table):
    return TableAutoencoder(SHORT).fit(table)


def with_gaps(table, name, rows):
    """Return a table with null in some rows of a column."""
    keep = np.isin(np.arange(120), rows, invert=True)
    if isinstance(table, pd.DataFrame):
        return table.assign(**{name: table[name].where(keep)})
    frame = table if isinstance(table, pl.DataFrame) else pl.from_arrow(table)
    frame = frame.with_columns(pl.when(pl.Series(keep)).then(pl.col(name)).alias(name))
    return frame if isinstance(table, pl.DataFrame) else frame.to_arrow().cast(table.schema)


# ---- frames in and out ----


def test_frames_come_back_as_they_were(table, fitted):
    for name in ("reconstruct", "impute"):
        back = getattr(fitted, name)(table)
        assert type(back) is type(table) and names_of(back) == names_of(table)
        for column in names_of(table):
            assert column_of(back, column)[0] == column_of(table, column)[0], column
        left_out = [c for c in NO_VARIABLES if c in names_of(table) and c != "nothing"]
        assert_equal_columns(back, table, left_out)
        if isinstance(table, pd.DataFrame):
            assert back.index.equals(table.index)
    for drawn in (fitted.sample(5, random_state=0), fitted.inverse_transform(np.zeros((5, 3)))):
        assert type(drawn) is type(table) and names_of(drawn) == names_of(table)
        for column in names_of(table):
            if column != "number" or not isinstance(table, pd.DataFrame):  # int64 has no null
                assert column_of(drawn, column)[0] == column_of(table, column)[0], column
    assert set(column_of(fitted.sample(200, random_state=0), "kind")[1]) == set("abc")


def test_impute_fills_gaps_alone(table, fitted):
    gaps = with_gaps(with_gaps(table, "real", [3, 5]), "kind", [5])
    filled = fitted.impute(gaps)
    with_own_gaps = ("gaps", "visits", "nullable flag", "town", "arrow")
    for column in set(names_of(table)) - set(with_own_gaps):
        values, others = column_of(filled, column)[1], column_of(table, column)[1]
        rows = {"real": [3, 5], "kind": [5]}.get(column, [])
        kept = [i for i in range(120) if i not in rows]
        assert [values[i] for i in kept] == [others[i] for i in kept], column
        assert column == "nothing" or all(values[i] is not None for i in rows)
    for column in set(with_own_gaps) & set(names_of(table)):
        assert None not in column_of(filled, column)[1]
    predicted = fitted.reconstruct(gaps)
    assert column_of(predicted, "kind")[1][5] in list("abc")


def test_nats_of_variables(table, fitted):
    nats = fitted.score_samples(table, per_feature=True)
    variables = [v.name for v in fitted.variables_]
    assert type(nats) is type(table) and names_of(nats) == variables
    values = np.column_stack([column_of(nats, name)[1] for name in variables]).astype(float)
    np.testing.assert_allclose(values.sum(axis=1), fitted.score_samples(table))
    assert fitted.score(table) == pytest.approx(values.sum(axis=1).mean())
    if isinstance(table, pd.DataFrame):
        assert nats.index.equals(table.index)
    # a group of columns is one variable: the probability of the class, times 1 - p0
    matrix = fitted.encoder_.transform(table)
    [kind] = [v for v in fitted.variables_ if v.name == "kind"]
    p = fitted.autoencoder_.reconstruct(matrix)[:, kind.columns]
    expected = np.log(p[matrix[:, kind.columns] == 1]) + np.log1p(-1 / 122)
    np.testing.assert_allclose(values[:, variables.index("kind")], expected)
    # amounts are read as logarithms, and scored by their own density
    [price] = [v for v in fitted.variables_ if v.name == "price"]
    columns = fitted.autoencoder_.score_samples(matrix, per_feature=True)[:, price.columns]
    x = np.array(column_of(table, "price")[1])
    expected = columns[:, 0] - np.log(x) + np.log1p(-1 / 122)
    np.testing.assert_allclose(values[:, variables.index("price")], expected)
    gaps = fitted.score_samples(with_gaps(table, "kind", [0, 1]), per_feature=True)
    assert column_of(gaps, "kind")[1][:2] == [0, 0]


def test_unseen_values_have_a_finite_surprise():
    frame = mixed_frame()
    model = TableAutoencoder(SHORT).fit(frame)
    new = frame.assign(kind="unheard of", visits=-1.0, price=-5.0)
    nats = model.score_samples(new, per_feature=True)
    n_visits = frame["visits"].notna().sum()
    assert nats["kind"].tolist() == pytest.approx([np.log(1 / 122)] * 120)
    assert nats["price"].tolist() == pytest.approx([np.log(1 / 122)] * 120)
    assert nats["visits"].tolist() == pytest.approx([np.log(1 / (n_visits + 2))] * 120)
    assert (model.impute(new)["kind"] == "unheard of").all()
    missing = frame.assign(kind=None, visits=None, price=None)
    np.testing.assert_array_equal(model.transform(new), model.transform(missing))


def test_arrays():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(0, 2, 200), rng.normal(size=200)])
    model = TableAutoencoder(SHORT).fit(X)
    assert model.roles_ == {"x0": "real", "x1": "binary", "x2": "real"}
    assert model.score_samples(X, per_feature=True).shape == (200, 3)
    back = model.reconstruct(X)
    assert back.dtype == np.float64 and set(back[:, 1]) <= {0, 1}
    assert model.sample(4).shape == (4, 3) and model.inverse_transform([[0.5] * 3]).shape == (1, 3)
    codes = model.set_output(transform="pandas").transform(X)
    assert list(codes.columns) == [f"tableautoencoder{j}" for j in range(3)]


def test_streams():
    table = in_library(mixed_frame(), "pyarrow")

    def reader():
        return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=50))

    model = TableAutoencoder(SHORT).fit(reader())
    np.testing.assert_array_equal(
        model.score_samples(reader()), TableAutoencoder(SHORT).fit(table).score_samples(table)
    )
    assert model.impute(reader()).schema == table.schema


# ---- what it learns ----


def test_relations_between_kinds_of_columns_are_learned():
    rng = np.random.default_rng(0)
    n = 600
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "real": 10 * z + 3 * rng.normal(size=n),
            "price": np.exp(1.5 * z + 0.4 * rng.normal(size=n)),
            "kind": np.select([z < -0.4, z < 0.4], ["low", "mid"], "high"),
            "visits": rng.poisson(np.exp(0.8 * z + 1)),
        }
    )
    holes = frame.mask(rng.random(frame.shape) < 0.15)
    model = TableAutoencoder().fit(holes)
    assert list(model.roles_.values()) == ["real", "positive", "category", "count"]
    filled, lost = model.impute(holes), holes.isna()
    right = (filled["kind"] == frame["kind"])[lost["kind"]].mean()
    assert right > 0.6  # the most frequent kind: 0.36
    for name in ("real", "price", "visits"):
        pair = frame[name][lost[name]], filled[name][lost[name]].astype(float)
        assert pair[0].corr(pair[1], method="spearman") > 0.7, name
    strange = frame.copy()
    strange.loc[:9, "kind"] = np.where(strange["kind"][:10] == "high", "low", "high")
    nats = model.score_samples(strange, per_feature=True) - model.score_samples(
        frame, per_feature=True
    )
    assert nats[:10].mean().idxmin() == "kind"
    assert np.abs(nats[10:]).max(axis=None) == 0


def test_a_code_for_a_classifier():
    frame = mixed_frame()
    y = frame["real"] > 0
    X = frame[["gaps", "visits", "price", "town"]]
    pipeline = make_pipeline(TableAutoencoder(Autoencoder(2, random_state=0)), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.8


# ---- parameters and files ----


def test_parameters_of_the_network_are_kept():
    model = TableAutoencoder(Autoencoder(2, activation="tanh", max_epochs=2, random_state=1))
    model.set_params(autoencoder__n_components=4)
    copied = clone(model).fit(mixed_frame())
    assert (
        copied.autoencoder_.activation == "tanh" and copied.transform(mixed_frame()).shape[1] == 4
    )
    assert not hasattr(copied.autoencoder, "components_")


@pytest.mark.parametrize(
    "network, error, match",
    [
        (Autoencoder(output="poisson"), ValueError, "must not have an output"),
        (aefast.ProbabilisticPCA(2), TypeError, "must be an Autoencoder"),
        (3, ValueError, "'autoencoder' parameter"),
    ],
)
def test_networks_that_are_refused(network, error, match):
    with pytest.raises(error, match=match):
        TableAutoencoder(network).fit(mixed_frame())


def test_a_row_cannot_be_fitted_and_n_samples_is_checked():
    with pytest.raises(ValueError, match="n_samples=1"):
        TableAutoencoder().fit(mixed_frame()[:1])
    model = TableAutoencoder(SHORT).fit(mixed_frame())
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="lacks 'kind'"):
        model.impute(mixed_frame().drop(columns="kind"))


@pytest.mark.parametrize("network", [SHORT, StackedAutoencoder((4, 2), max_epochs=1)])
def test_files_hold_encoder_and_network(network, table, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TableAutoencoder(network, roles={"kind": list("cab")}).fit(table)
    model.save(tmp_path / "model.safetensors")
    loaded = aefast.load(tmp_path / "model.safetensors")
    assert repr(loaded.autoencoder) == repr(model.autoencoder)
    assert loaded.roles_ == model.roles_ and loaded.roles_["kind"] == "ordered"
    np.testing.assert_array_equal(loaded.score_samples(table), model.score_samples(table))
    for frame, other in (
        (loaded.impute(table), model.impute(table)),
        (loaded.sample(9, random_state=0), model.sample(9, random_state=0)),
    ):
        assert type(frame) is type(other)
        assert_equal_columns(frame, other, [c for c in names_of(table) if c != "nothing"])
    assert loaded.feature_names_in_.tolist() == names_of(table)


def test_a_file_with_another_width_is_refused(tmp_path):
    from support.model_files import assert_refused, edited

    path = tmp_path / "model.safetensors"
    TableAutoencoder(SHORT).fit(mixed_frame()).save(path)
    contents = path.read_bytes()

    def drop(state):
        state["encoder"]["codings"] = [
            c for c in state["encoder"]["codings"] if c["label"] != "kind"
        ]

    def no_levels(state):
        for coding in state["encoder"]["codings"]:
            if coding["coding"] == "levels":
                coding["state"]["levels"] = coding["state"]["levels"][:1]

    def no_offset(state):
        for coding in state["encoder"]["codings"]:
            if coding["coding"] == "numbers":
                coding["state"]["offset"] = 3.0

    for damage in (drop, no_levels, no_offset):
        path.write_bytes(contents)
        with edited(path) as (_, metadata, _):
            damage(metadata["state"])
        assert_refused(path)


# ---- networks that were trained elsewhere ----


def test_from_fitted_is_the_model_of_a_fit(table):
    """An encoder and a network trained by hand make the model that `fit` makes, and its file."""
    whole = TableAutoencoder(SHORT).fit(table)
    encoder = TableEncoder().fit(table)
    matrix = encoder.transform(table)
    network = clone(SHORT).set_params(output=encoder.output_, missing="mask", scale=encoder.scale_)
    network.fit(matrix)
    for rows in (table, matrix):
        made = TableAutoencoder.from_fitted(encoder, network, rows)
        np.testing.assert_array_equal(made.score_samples(table), whole.score_samples(table))
        drawn = made.sample(5, random_state=0), whole.sample(5, random_state=0)
        assert str(drawn[0]) == str(drawn[1])
    again = clone(made).fit(table)
    np.testing.assert_array_equal(again.score_samples(table), whole.score_samples(table))


def test_from_fitted_refuses_what_does_not_fit(table):
    encoder = TableEncoder().fit(table)
    matrix = encoder.transform(table)
    options = {"output": encoder.output_, "missing": "mask"}
    network = clone(SHORT).set_params(**options).fit(matrix)
    other = clone(SHORT).set_params(missing="mask").fit(matrix[:, :3])
    plain = clone(SHORT).set_params(output=encoder.output_).fit(encoder_rows(matrix))
    for given, kind, match in (
        (PCA(), TypeError, "must be an Autoencoder"),
        (clone(SHORT), NotFittedError, "not fitted"),
        (other, ValueError, "got a network of 3 columns, output='gaussian'"),
        (plain, ValueError, "missing='mask'"),
    ):
        with pytest.raises(kind, match=match):
            TableAutoencoder.from_fitted(encoder, given, table)
    with pytest.raises(NotFittedError):
        TableAutoencoder.from_fitted(TableEncoder(), network, table)


def encoder_rows(matrix):
    """Return the rows of a matrix that have no gaps."""
    return matrix[~np.isnan(matrix).any(axis=1)]

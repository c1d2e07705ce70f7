"""Tables to matrices and back: roles, types, what the fit has not seen, refusals, files."""

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import make_column_selector
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.mixed_frames import LEFT_OUT, assert_equal_columns, in_library, mixed_frame, names_of

import aefast
from aefast import Autoencoder, TableEncoder

pytestmark = pytest.mark.filterwarnings("ignore:columns are left out")


@parametrize_with_checks([TableEncoder(), TableEncoder(max_categories=2)])
def test_estimator_checks(estimator, check):
    check(estimator)


# ---- there and back ----


def test_roles_follow_from_types_and_values():
    roles = TableEncoder().fit(mixed_frame()).roles_
    assert roles == {
        "whole": "real",
        "real": "real",
        "gaps": "real",
        "visits": "count",
        "price": "positive",
        "flag": "binary",
        "nullable flag": "binary",
        "town": "binary",
        "kind": "category",
        "size": "ordered",
        "code": "category",
        "day": "date",
        "moment": "date",
        "duration": "real",
        "date": "date",
        "time": "date",
        "amount": "real",
        "arrow": "date",
        **LEFT_OUT,
        "nothing": "empty",
    }


def test_tables_come_back_with_their_types(table, tmp_path):
    encoder = TableEncoder().fit(table)
    matrix = encoder.transform(table)
    path = tmp_path / "encoder.safetensors"
    encoder.save(path)
    loaded = aefast.load(path)
    assert repr(loaded) == repr(encoder) and loaded.roles_ == encoder.roles_
    np.testing.assert_array_equal(loaded.transform(table), matrix)
    known = [name for name in names_of(table) if name not in ("number", "name", "nothing")]
    if isinstance(table, pd.DataFrame):
        table = table.reset_index(drop=True)
    for decoder in (encoder, loaded):
        back = decoder.inverse_transform(matrix)
        assert type(back) is type(table) and names_of(back) == names_of(table)
        assert_equal_columns(table, back, known)


def test_pandas_frames_come_back_equal():
    frame = mixed_frame()
    encoder = TableEncoder().set_output(transform="pandas").fit(frame)
    coded = encoder.transform(frame)
    assert list(coded.columns) == list(encoder.get_feature_names_out())
    back = encoder.inverse_transform(coded)
    left_out = ["number", "name"]
    pd.testing.assert_frame_equal(
        back.drop(columns=left_out), frame.drop(columns=left_out), rtol=1e-12
    )
    assert back[left_out].isna().all(axis=None)


def test_the_matrix_is_what_the_outputs_say():
    frame = mixed_frame()
    encoder = TableEncoder().fit(frame)
    matrix = encoder.transform(frame)
    assert [v.name for v in encoder.variables_] == [
        name
        for name, role in encoder.roles_.items()
        if role not in ("identifier", "constant", "empty")
    ]
    widths = [v.columns.stop - v.columns.start for v in encoder.variables_]
    assert sum(widths) == matrix.shape[1] == len(encoder.get_feature_names_out())
    by_name = {v.name: matrix[:, v.columns] for v in encoder.variables_}
    np.testing.assert_array_equal(by_name["kind"], frame["kind"].to_numpy()[:, None] == list("abc"))
    rank = frame["size"].cat.codes.to_numpy()[:, None]
    np.testing.assert_array_equal(by_name["size"], rank > np.arange(2))
    np.testing.assert_array_equal(by_name["duration"][:, 0], frame["duration"].dt.total_seconds())
    hours = np.array([t.hour + t.minute / 60 for t in frame["time"]])
    np.testing.assert_allclose(by_name["time"][:, 0], np.sin(hours / 24 * 2 * np.pi), atol=1e-12)
    local = frame["moment"].dt.tz_localize(None)
    turns = (local.dt.day_of_year - 1 + (local - local.dt.normalize()) / pd.Timedelta("1D")) / (
        365 + local.dt.is_leap_year
    )
    np.testing.assert_allclose(by_name["moment"][:, 1], np.sin(turns * 2 * np.pi), atol=1e-9)
    weekday = (local.dt.day_of_week + (local - local.dt.normalize()) / pd.Timedelta("1D")) / 7
    np.testing.assert_allclose(by_name["moment"][:, 4], np.cos(weekday * 2 * np.pi), atol=1e-9)
    options = {"missing": "mask", "scale": encoder.scale_, "max_epochs": 1}
    fitted = Autoencoder(2, output=encoder.output_, **options).fit(matrix)
    assert np.isfinite(fitted.score(matrix))


def test_streams_are_read_batch_by_batch():
    table = in_library(mixed_frame(), "pyarrow")

    def reader():
        return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=17))

    encoder, whole = TableEncoder().fit(reader()), TableEncoder().fit(table)
    assert [c.state for c in encoder._layout.codings] == [c.state for c in whole._layout.codings]
    np.testing.assert_array_equal(encoder.transform(reader()), whole.transform(table))

    class Capsule:
        def __arrow_c_stream__(self, requested_schema=None):
            return table.__arrow_c_stream__(requested_schema)

    np.testing.assert_array_equal(
        TableEncoder().fit(Capsule()).transform(Capsule()), whole.transform(table)
    )


def test_columns_may_come_in_any_order(table):
    encoder = TableEncoder().fit(table)
    shuffled = (
        table.select(names_of(table)[::-1])
        if not isinstance(table, pd.DataFrame)
        else (table[table.columns[::-1]])
    )
    np.testing.assert_array_equal(encoder.transform(shuffled), encoder.transform(table))


def test_arrays_and_lists():
    rows = [["a", 1.5, True], ["b", None, False], ["a", 2.5, None], ["c", 0.5, True]]
    encoder = TableEncoder().fit(rows)
    assert encoder.roles_ == {"x0": "category", "x1": "real", "x2": "binary"}
    back = encoder.inverse_transform(encoder.transform(np.array(rows, object)))
    assert back.tolist() == rows
    numbers = np.random.default_rng(0).normal(size=(9, 3))
    encoder = TableEncoder().fit(numbers)
    np.testing.assert_array_equal(encoder.inverse_transform(numbers), numbers)


# ---- roles that the user chooses ----


def test_chosen_roles():
    frame = mixed_frame()[["whole", "visits", "flag", "town", "kind", "number"]]
    chosen = {
        make_column_selector(dtype_include="bool"): "drop",
        ("whole", "number"): "positive",
        "visits": "category",
        "kind": ["c", "a", "b"],
    }
    frame["whole"], frame["number"] = frame["whole"] + 1, frame["number"] + 1
    encoder = TableEncoder(chosen).fit(frame)
    assert encoder.roles_ == {
        "whole": "positive",
        "visits": "category",
        "flag": "drop",
        "town": "binary",
        "kind": "ordered",
        "number": "positive",
    }
    assert [n for n in encoder.get_feature_names_out() if "kind" in n] == ["kind>c", "kind>a"]
    back = encoder.inverse_transform(encoder.transform(frame))
    kept = ["whole", "visits", "town", "kind", "number"]
    assert_equal_columns(back, frame.reset_index(drop=True), kept)
    pairs = [("category", slice("whole", "visits")), ("drop", lambda X: ["kind"])]
    roles = TableEncoder(pairs).fit(frame).roles_
    assert roles["whole"] == roles["visits"] == "category" and roles["kind"] == "drop"
    arrays = TableEncoder({0: "count", -1: "category"}).fit(np.arange(12).reshape(4, 3))
    assert arrays.roles_ == {"x0": "count", "x1": "real", "x2": "category"}


def test_chosen_roles_are_saved(tmp_path):
    frame = mixed_frame()
    select = make_column_selector(dtype_include="Int64")
    encoder = TableEncoder({select: "real", "kind": ["a", "c", "b"]}).fit(frame)
    encoder.save(tmp_path / "e.safetensors")
    again = aefast.load(tmp_path / "e.safetensors").fit(frame)
    assert again.roles_ == encoder.roles_


@pytest.mark.parametrize(
    "roles, match",
    [
        ({"nowhere": "real"}, "there is no column 'nowhere'"),
        ({"kind": "real"}, "column 'kind' is text, it cannot have the role 'real'"),
        ({"real": "count"}, "column 'real' cannot have the role 'count'"),
        ({"real": "positive"}, "'real' cannot have the role 'positive'"),
        ({"kind": "binary"}, "'kind' cannot have the role 'binary': it has 3"),
        ({"kind": ["a", "b"]}, "'kind' has 'c', which is not among its levels"),
        ({"kind": "colour"}, "role must be one of"),
        ([("real", "whole"), ("count", ["whole"])], "'whole' twice"),
        ({"moment": "category"}, "'moment' is date"),
    ],
)
def test_roles_that_do_not_suit(roles, match):
    with pytest.raises(ValueError, match=match):
        TableEncoder(roles).fit(mixed_frame())


# ---- what the fit has not seen ----


def test_unseen_values_are_missing_with_a_share_of_their_own():
    frame = pd.DataFrame({"kind": list("aabbbc") * 5, "price": np.exp(np.arange(30.0))})
    encoder = TableEncoder().fit(frame)
    new = pd.DataFrame({"kind": ["a", "q", None], "price": [1.0, -3.0, 0.0]})
    rows = encoder._rows(new)
    assert np.isnan(rows.matrix[1:, :3]).all() and (rows.matrix[0, :3] == [1, 0, 0]).all()
    assert np.isnan(rows.matrix[1:, 3]).all()
    p = 1 / 32  # 30 observed entries, none of them seen once
    expected = [[np.log1p(-p)] * 2, [np.log(p)] * 2, [0, np.log(p)]]
    np.testing.assert_allclose(rows.log_terms, expected)
    single = TableEncoder().fit(pd.DataFrame({"kind": list("aabc")}))
    np.testing.assert_allclose(
        single._rows(pd.DataFrame({"kind": ["q"]})).log_terms, np.log((2 + 1) / (4 + 2))
    )


def test_rare_levels_are_one_class_with_their_shares():
    counts = {"a": 10, "b": 8, "c": 3, "d": 1}
    frame = pd.DataFrame({"kind": [k for k, n in counts.items() for _ in range(n)]})
    encoder = TableEncoder(max_categories=3).fit(frame)
    assert list(encoder.get_feature_names_out()) == ["kind_a", "kind_b", "kind_other"]
    rows = encoder._rows(pd.DataFrame({"kind": list("acd")}))
    np.testing.assert_array_equal(rows.matrix, [[1, 0, 0], [0, 0, 1], [0, 0, 1]])
    p = 2 / 24
    np.testing.assert_allclose(np.exp(rows.log_terms[:, 0]), (1 - p) * np.array([1, 3 / 4, 1 / 4]))
    assert encoder.inverse_transform(rows.matrix)["kind"].tolist() == ["a", "c", "c"]
    drawn = encoder._layout.table(
        np.repeat(rows.matrix[2:], 999, axis=0), random=np.random.RandomState(0)
    )
    assert (drawn["kind"] == "d").mean() == pytest.approx(0.25, abs=0.05)
    ordered = TableEncoder({"kind": list("abcd")}, max_categories=2).fit(frame)
    assert list(ordered.get_feature_names_out()) == ["kind>a"]


def test_many_levels():
    names = [f"v{i}" for i in range(10**5)] * 2
    frame = pd.DataFrame({"kind": names, "y": np.arange(2e5) % 7})
    encoder = TableEncoder({"kind": "category"}, max_categories=10).fit(frame)
    assert encoder.transform(frame).shape == (2 * 10**5, 11)
    assert TableEncoder().fit(frame[:1000]).roles_["kind"] == "identifier"


def test_dates_keep_their_microseconds_and_predicted_ones_their_hour():
    moments = pd.to_datetime(
        ["1969-07-20 20:17:40.123457", "2021-03-28 01:30:00.0", "2019-01-01 08:00:00.0"]
    )
    frame = pd.DataFrame({"t": moments.astype("M8[us]").tz_localize("UTC")})
    frame["t"] = frame["t"].dt.tz_convert("Europe/Berlin")
    encoder = TableEncoder().fit(frame)
    matrix = encoder.transform(frame)
    pd.testing.assert_frame_equal(encoder.inverse_transform(matrix), frame)
    hourly = pd.DataFrame({"t": pd.date_range("2020-01-01 08:00", periods=60, freq="26h")})
    encoder = TableEncoder().fit(hourly)
    matrix = encoder.transform(hourly)
    matrix[:, 0] += 0.3  # days: a prediction of the day is not exact, that of the hour may be
    back = encoder.inverse_transform(matrix)["t"]
    assert (back.dt.hour == hourly["t"].dt.hour).all()
    assert (back.dt.date == hourly["t"].dt.date).mean() > 0.5


def test_predictions_beyond_a_type_become_its_ends():
    frame = pd.DataFrame(
        {"byte": np.arange(40, dtype=np.uint8) % 7, "t": pd.date_range("2000", periods=40)}
    )
    encoder = TableEncoder({"byte": "real"}).fit(frame)
    matrix = encoder.transform(frame)
    matrix[0], matrix[1] = 1e12, -1e12
    back = encoder.inverse_transform(matrix)
    assert back["byte"][:2].tolist() == [255, 0] and back["t"].notna().all()


# ---- refusals ----


@pytest.mark.parametrize(
    "frame, match",
    [
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "several columns of one name: 'a'"),
        (pd.DataFrame({"a": [1.0, np.inf]}), r"infinity \(inf\) at row 1, column 'a'"),
        (pd.DataFrame({"a": [1, "x"]}), "column 'a' of X holds objects of int, str"),
        (pd.DataFrame({"a": [[1], [2]]}), "column 'a' of X holds objects of list"),
        (pl.DataFrame({"a": [[1], [2]]}), "column 'a' of X has the type List"),
        (pd.DataFrame({"a": [3.0]}), "no column of X varies .n_samples=1"),
        (pd.DataFrame({"a": [None, None]}), "no column of X varies"),
        (pd.DataFrame({"a": []}), "0 sample"),
        (pd.DataFrame(index=[1, 2]), "0 feature"),
        (pd.Series([1.0, 2.0], name="a"), "1D array"),
        (pa.chunked_array([[1.0, 2.0]]), "1D array"),
        (pd.DataFrame({"a": pd.interval_range(0, 3)}), "column 'a'"),
    ],
)
def test_tables_that_cannot_be_encoded(frame, match):
    with pytest.raises(ValueError, match=match):
        TableEncoder().fit(frame)


def test_numbers_too_large_for_floats():
    with pytest.raises(ValueError, match="column 'x0' of X has a number that float64 cannot hold"):
        TableEncoder().fit(np.array([[10**400], [1]], object))


def test_queries_are_refused():
    with pytest.raises(TypeError, match=r"query that has not run .*collect\(\)"):
        TableEncoder().fit(pl.LazyFrame({"a": [1, 2]}))


def test_notices_name_the_columns():
    with pytest.warns(UserWarning, match=r"'number', 'name' \(an identifier\); 'one', 'same'"):
        TableEncoder().fit(mixed_frame())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dropped = {name: "drop" for name in (*LEFT_OUT, "nothing")}
        TableEncoder(dropped).fit(mixed_frame())


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda f: f.drop(columns="real"), "lacks 'real'"),
        (lambda f: f.assign(extra=1), "has the new 'extra'"),
        (lambda f: f.rename(columns={"real": "rael"}), "lacks 'real' and has the new 'rael'"),
        (
            lambda f: f.assign(real="x"),
            "'real' of X was number .'float64'. in the fit, and is text",
        ),
        (lambda f: f.assign(kind=1.0), "'kind' of X was text .* and is number"),
        (lambda f: f.assign(flag=1.0), "'flag' of X was boolean .* and is number"),
        (lambda f: f.assign(day=f["moment"]), "'day' of X was date .* is date in Europe/Berlin"),
        (lambda f: f.assign(code=f["kind"]), "'code' of X was category .* and is text"),
        (lambda f: f.assign(real=np.inf), "infinity .* column 'real'"),
    ],
)
def test_changed_tables_are_refused(change, match):
    frame = mixed_frame()
    encoder = TableEncoder().fit(frame)
    with pytest.raises(ValueError, match=match):
        encoder.transform(change(frame))


def test_columns_of_the_same_kind_pass():
    frame = mixed_frame()
    encoder = TableEncoder().fit(frame)
    other = frame.assign(
        whole=frame["whole"].astype("Float32"),
        kind=frame["kind"].astype("category"),
        real=None,
        town=np.nan,
        flag=pd.array([None, True] * 60, "boolean"),
        day=frame["day"].astype("M8[s]"),
    )
    matrix, expected = encoder.transform(other), encoder.transform(frame)
    same = [0, *range(9, matrix.shape[1])]
    np.testing.assert_array_equal(matrix[:, same], expected[:, same])
    assert np.isnan(matrix[:, 1]).all()


def test_dates_out_of_range():
    frame = pl.DataFrame({"d": [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2020, 5, 5)]})
    encoder = TableEncoder().fit(frame)
    assert encoder.inverse_transform(encoder.transform(frame)).equals(frame)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([0, None, 2**31 - 1], dtype=pl.Int32).cast(pl.Date),
        pl.Series([0, None, 2**62]).cast(pl.Datetime("ms")),
        pa.array([0, None, 2**62], pa.timestamp("s")),
        pa.array([0, None, 2**62], pa.timestamp("us")),
        pd.Series(np.array([0, 5, 2**62], "M8[s]")),
    ],
    ids=["polars days", "polars ms", "arrow s", "arrow us", "pandas s"],
)
def test_dates_out_of_range_are_errors(values):
    """Libraries wrap them round, make nulls of them, or panic."""
    make = {"Series": pd.DataFrame}.get(type(values).__name__, pa.table)
    make = pl.DataFrame if isinstance(values, pl.Series) else make
    frame = make({"when": values, "a": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="date out of range at row 2, column 'when'"):
        TableEncoder().fit(frame)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_large_integers_are_rounded(library):
    numbers = [2**60 + 1, None, 5, -(2**62)]
    frame = {
        "pandas": lambda: pd.DataFrame({"n": pd.array(numbers, "Int64")}),
        "polars": lambda: pl.DataFrame({"n": numbers}),
        "pyarrow": lambda: pa.table({"n": numbers}),
    }[library]()
    [found] = TableEncoder({"n": "real"}).fit_transform(frame).T
    np.testing.assert_array_equal(found, [2.0**60, np.nan, 5, -(2.0**62)])


def test_dates_as_texts_are_told():
    written = [f"{i % 28 + 1:02d}/{i % 12 + 1:02d}/2024" for i in range(60)]
    frame = pd.DataFrame({"day": written, "size": list("SML") * 20, "1/2": ["1/2", "12/24/9"] * 30})
    with pytest.warns(UserWarning, match="dates as texts, which are taken for texts: 'day'. Give"):
        TableEncoder().fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TableEncoder({"day": "category"}).fit(frame)
        TableEncoder().fit(frame.assign(day=pd.to_datetime(frame["day"], format="%d/%m/%Y")))

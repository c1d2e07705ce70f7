"""Imputation of tables with categories, dates and amounts: frames in and out, classes, files."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

import aefast
from aefast import Imputer
from aefast._base.hidden_entries import HiddenEntries, Variables

METHODS = ("ppca", "autoencoder")


def mixed(n=300, seed=0):
    """Return a table whose columns follow from one normal variable, and the table with gaps."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "real": 10 * z + 2 * rng.normal(size=n),
            "price": np.exp(1.5 * z + 0.3 * rng.normal(size=n) + 5),
            "kind": np.select([z < -0.4, z < 0.4], ["low", "mid"], "high"),
            "flag": pd.array(z + 0.2 * rng.normal(size=n) > 0, "boolean"),
            "visits": pd.array(rng.poisson(np.exp(0.8 * z + 1)), "Int64"),
            "size": pd.cut(z, 4, labels=["S", "M", "L", "XL"]),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(100 * z), unit="D"),
            "id": [f"row {i}" for i in range(n)],
            "one": 1,
        },
        index=np.arange(n) + 7,
    )
    lost = rng.random(frame.shape) < 0.15
    lost[:, -2:] = False
    return frame, frame.mask(lost), lost


def quietly(imputer, X, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return imputer.fit(X, **options)


@pytest.mark.parametrize("method", METHODS)
def test_gaps_are_filled_from_the_other_columns(method):
    frame, holes, lost = mixed()
    imputer = quietly(Imputer(method), holes)
    filled = imputer.transform(holes)
    assert isinstance(filled, pd.DataFrame) and filled.index.equals(frame.index)
    assert (filled.dtypes == holes.dtypes).all() and list(filled.columns) == list(frame.columns)
    kept = ~lost
    for j, name in enumerate(frame):
        assert filled[name].notna().all()
        assert (filled[name] == frame[name])[kept[:, j]].all(), name
    share = {
        name: (filled[name] == frame[name])[lost[:, frame.columns.get_loc(name)]].mean()
        for name in ("kind", "flag", "size")
    }
    assert share["kind"] > 0.7 and share["flag"] > 0.8 and share["size"] > 0.6
    for name in ("real", "price", "visits", "day"):
        rows = lost[:, frame.columns.get_loc(name)]
        pair = [
            each[name][rows].astype("int64" if name == "day" else float) for each in (frame, filled)
        ]
        assert pair[0].corr(pair[1], method="spearman") > 0.75, name
    std = imputer.transform_std(holes)
    assert list(std.columns) == list(frame.columns) and std.index.equals(frame.index)
    assert (std.to_numpy()[kept] == 0).all() and (std.to_numpy()[lost] >= 0).all()
    inside = np.abs(filled["real"] - frame["real"]) <= 1.645 * std["real"]
    assert inside[lost[:, 0]].mean() > 0.75
    rows = lost[:, 2]
    assert std["kind"][rows].mean() == pytest.approx(1 - share["kind"], abs=0.3)
    wrong = (filled["kind"] != frame["kind"])[rows]
    assert std["kind"][rows][wrong].mean() > std["kind"][rows][~wrong].mean()


def test_frames_of_polars():
    _, holes, _ = mixed()
    table = pl.from_pandas(holes.drop(columns="size"))
    filled = quietly(Imputer("ppca", n_components=3), table).transform(table)
    expected = quietly(Imputer("ppca", n_components=3), holes.drop(columns="size"))
    assert filled.schema == table.schema and filled.null_count().to_numpy().sum() == 0
    back = expected.transform(holes.drop(columns="size")).reset_index(drop=True)
    assert filled["kind"].to_list() == back["kind"].tolist()
    np.testing.assert_allclose(filled["real"].to_numpy(), back["real"])
    shuffled = table.select(table.columns[::-1])
    again = quietly(Imputer("ppca", n_components=3), table).transform(shuffled)
    assert again.columns == shuffled.columns and again.select(table.columns).equals(filled)


@pytest.mark.parametrize("method", METHODS)
def test_draws_vary_as_much_as_they_should(method):
    frame, holes, lost = mixed()
    imputer = quietly(Imputer(method, n_components=4, n_draws=5), holes)
    drawn = imputer.sample(holes, random_state=0)
    assert len(drawn) == 5 and all((d.dtypes == holes.dtypes).all() for d in drawn)
    again = imputer.sample(holes, random_state=0)
    pd.testing.assert_frame_equal(drawn[3], again[3])
    assert all((d["kind"] == frame["kind"])[~lost[:, 2]].all() for d in drawn)
    assert all(d.notna().all(axis=None) for d in drawn)
    rows = lost[:, 2]
    kinds = np.array([d["kind"][rows] for d in drawn])
    differ = (kinds != kinds[0]).any(axis=0).mean()
    assert 0.05 < differ < 0.95
    right = np.mean([(d["kind"] == frame["kind"])[rows].mean() for d in drawn])
    assert right > 0.5


def test_roles_indicator_and_columns_that_are_left_out():
    _, holes, _ = mixed()
    holes["code"] = np.arange(300) % 3 + 1.0
    holes.iloc[::9, -1] = np.nan
    holes["empty"] = None
    options = {"roles": {"code": "category"}, "n_components": 2}
    imputer = Imputer("ppca", add_indicator=True, **options)
    with pytest.warns(UserWarning, match=r"'id' \(an identifier\); 'one' \(constant\); 'empty'"):
        imputer.fit(holes)
    filled = imputer.transform(holes)
    assert set(filled["code"]) == {1.0, 2.0, 3.0}
    assert list(filled.columns) == list(imputer.get_feature_names_out())
    marks = [name for name in filled if name.startswith("missingindicator_")]
    assert "missingindicator_kind" in marks and "missingindicator_one" not in marks
    np.testing.assert_array_equal(filled["missingindicator_kind"], holes["kind"].isna())
    assert "empty" not in filled and filled["id"].equals(holes["id"])
    kept = quietly(Imputer("ppca", keep_empty_features=True, **options), holes)
    assert kept.transform(holes)["empty"].isna().all()
    assert kept.transform_std(holes)["empty"].isna().all()
    one = holes.assign(one=np.where(np.arange(300) % 2, 1.0, np.nan))
    assert (imputer.transform(one)["one"] == 1).all()


def test_arrays_are_mixed_with_roles():
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 4, 200).astype(float)
    X = np.column_stack([codes, codes * 2 + 0.1 * rng.normal(size=200)])
    holes = np.where(np.arange(400).reshape(200, 2) % 7 == 0, np.nan, X)
    filled = Imputer("ppca", n_components=2, roles={0: "category"}).fit_transform(holes)
    assert isinstance(filled, np.ndarray) and set(filled[:, 0]) == {1, 2, 3}
    assert (filled[:, 0] == codes).mean() > 0.9


def test_unseen_and_changed_values():
    frame, holes, _ = mixed()
    imputer = quietly(Imputer("ppca", n_components=2), holes)
    new = frame.assign(kind="unheard of", real=np.nan)
    filled = imputer.transform(new)
    assert (filled["kind"] == "unheard of").all() and filled["real"].notna().all()
    assert (imputer.transform_std(new)["kind"] == 0).all()
    for change, match in (
        (frame.drop(columns="kind"), "lacks 'kind'"),
        (frame.assign(new=1), "has the new 'new'"),
        (frame.assign(kind=1.0), "'kind' of X was text"),
        (frame.assign(real=np.inf), "infinity .* column 'real'"),
    ):
        with pytest.raises(ValueError, match=match):
            imputer.transform(change)
    with pytest.raises(ValueError, match="missing_values must be NaN for tables"):
        Imputer(missing_values=-1).fit(holes)


def test_weights_of_zero_leave_rows_out():
    _, holes, _ = mixed()
    weight = np.r_[np.ones(200), np.zeros(100)]
    imputer = quietly(Imputer("ppca", n_components=2), holes, sample_weight=weight)
    kind = next(v.columns for v in imputer.encoder_.variables_ if v.name == "kind")
    expected = imputer.encoder_.transform(holes)[:200, kind]
    np.testing.assert_allclose(imputer.mean_[kind], np.nanmean(expected, axis=0))


@pytest.mark.parametrize("method", METHODS)
def test_files(method, tmp_path):
    _, holes, _ = mixed()
    roles = {"visits": "real"}
    options = {"roles": roles, "n_components": 2, "n_draws": 1, "add_indicator": True}
    imputer = quietly(Imputer(method, **options), holes)
    imputer.save(tmp_path / "i.safetensors")
    loaded = aefast.load(tmp_path / "i.safetensors")
    assert loaded.encoder_.roles_ == imputer.encoder_.roles_
    pd.testing.assert_frame_equal(loaded.transform(holes), imputer.transform(holes))
    pd.testing.assert_frame_equal(loaded.transform_std(holes), imputer.transform_std(holes))
    pair = (each.sample(holes, random_state=1)[0] for each in (loaded, imputer))
    pd.testing.assert_frame_equal(*pair)


def test_groups_are_hidden_as_a_whole():
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.eye(3)[rng.integers(0, 3, 400)], rng.normal(size=(400, 2))])
    rows[::5, :3] = np.nan
    variables = Variables(np.array([0, 0, 0, 1, 2]), np.array([False, False, False, True, True]))
    entries = HiddenEntries.of(rows, np.ones(400), np.random.RandomState(0), variables)
    of_group = entries.hidden[:, :3].sum(axis=1)
    assert set(of_group) == {0, 3} and not entries.hidden[::5, :3].any()
    assert 0.05 < entries.hidden[:, 3].mean() < 0.15
    # intervals are asked of numbers alone
    filled, deviations = entries.truth.copy(), np.ones_like(entries.truth)
    filled[:, :3] += 100
    filled[:, 3:] += 1.6448536269514722 * 2
    assert entries.spread(filled, deviations) == pytest.approx(2)

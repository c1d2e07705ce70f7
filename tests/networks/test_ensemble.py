"""Ensembles: members have the bits of networks trained alone; what they read; pooled results."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import Autoencoder, AutoencoderEnsemble
from aefast._base import _runtime
from aefast._base.given_results import PART_ROWS
from aefast.networks._autoencoder import EnsembleTrainer, survey
from aefast.networks.ensemble_fitting import Training
from aefast.networks.training import many
from aefast.networks.training.automatic import Settings
from aefast.networks.training.minibatches import start_training

SIZES = [7, 40, 33, 150, 64]
VARIANTS = {
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate": 0.05, "gain": False},
    "budget": {"max_epochs": "auto", "batch_size": "auto"},
    "patience": {"max_epochs": 60, "tol": 0.05, "n_epochs_no_change": 3},
    "scaled": {"scale": "standard", "batch_size": 200},
    "untied": {"tied": False, "solver": "adagrad", "activation": "tanh", "clip_norm": 0.5},
    "counts": {"output": "poisson", "learning_rate": 0.01},
    "noise": {"corruption": ("masking", 0.3), "dropout": 0.2, "alpha": 0.01, "max_norm": 0.7},
    "salt": {"corruption": ("salt_and_pepper", 0.3), "sparsity": ("kl", 0.2, 0.1)},
    "in order": {"shuffle": False, "learning_rate_schedule": "cosine", "weight_decay": 0.1},
}


@parametrize_with_checks(
    [
        AutoencoderEnsemble(3, max_epochs=2),
        AutoencoderEnsemble(
            3,
            n_components=2,
            max_samples=0.7,
            max_features=1.0,
            bootstrap=True,
            tied=False,
            max_epochs=2,
        ),
    ]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


def groups_of(make_problem, dtype=np.float64, d=13):
    X, _ = make_problem(sum(SIZES), d, 5, dtype=dtype)
    labels = np.repeat([4, 2, 9, 0, 5], SIZES)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], labels[order]


@pytest.fixture
def tiles(isa):
    """Every instruction set, with register tiles: ensembles have no other products."""
    if _runtime.products() == "blas":
        pytest.skip("ensembles compute with register tiles")
    return isa


# ---- a member is a network trained alone ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_members_have_the_bits_of_networks_fitted_alone(variant, dtype, tiles, make_problem):
    """From random weights even the public classes agree: starts, shuffles, noise, ends."""
    X, labels = groups_of(make_problem, dtype)
    X = np.round(9 * X) if variant == "counts" else X
    # in float64 the two ways to a standard deviation differ by rounding, which scaled rows show
    X = np.round(64 * X) / 64 if variant == "scaled" else X
    options = {"init": "glorot", "scale": None, "max_epochs": 5, "batch_size": 32}
    options |= VARIANTS[variant]
    ensemble = AutoencoderEnsemble(n_components=5, random_state=3, **options)
    ensemble.fit(X, groups=labels)
    assert_array_equal(ensemble.groups_, [0, 2, 4, 5, 9])
    for label, member in zip(ensemble.groups_, ensemble.members_, strict=True):
        alone = Autoencoder(**member.get_params()).fit(X[labels == label])
        if variant == "scaled":
            assert_allclose(member._state.scaling.scale, alone._state.scaling.scale, rtol=1e-14)
            if not np.array_equal(member._state.scaling.scale, alone._state.scaling.scale):
                continue
        assert_array_equal(member._state.parameters, alone._state.parameters)
        assert_array_equal(member._state.optimizer_state, alone._state.optimizer_state)
        assert member.loss_curve_ == alone.loss_curve_
        assert member._state.n_steps == alone._state.n_steps
        assert member._state.n_rows_seen == alone._state.n_rows_seen


def trained_alone(ensemble, X, start, b, rows):
    """Return the parameters of member b, trained alone by MiniBatches from a start."""
    state = ensemble._state.fitted_state(b)._replace(
        parameters=start[b, 0].copy(), optimizer_state=start[b, 1:].copy(), n_steps=0, n_rows_seen=0
    )
    table = np.ascontiguousarray(X[rows][:, ensemble.estimators_features_[b]])
    chosen = {"learning_rate": ensemble.fit_report_.get("learning_rate", ensemble.learning_rate)}
    chosen |= {"learning_rate_schedule": "trapezoid", "batch_size": 32, "corruption": None}
    settings = Settings(ensemble.members_[b], chosen)
    variant = aefast.networks.variants.variant_of_rows(state.reading, state.parameters.dtype)
    training = start_training(
        settings,
        table,
        len(table),
        state,
        variant._replace(seed=state.seed),
        rate_factors=state.rates,
    )
    for _ in range(ensemble.max_epochs):
        training.epoch()
    return training.values()[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_members_of_one_table_train_as_alone(n_threads, dtype, tiles, make_problem, monkeypatch):
    """Rows, columns and units of their own, a start near PCA, slices of one batch."""
    X, _ = make_problem(300, 21, 6, dtype=dtype)
    X = X * np.linspace(1, 50, 21).astype(dtype)
    starts = []
    run = Training.__call__

    def noticed(training, stage=None):
        starts.append(training.many.values.copy())
        return run(training, stage)

    monkeypatch.setattr(Training, "__call__", noticed)
    monkeypatch.setattr(many, "SLICE_SECONDS", 1e-9)  # one batch of each network
    ensemble = AutoencoderEnsemble(
        4,
        n_components=5,
        max_samples=0.6,
        max_features=8,
        max_epochs=3,
        batch_size=32,
        tol=0,
        random_state=1,
        n_threads=n_threads,
    ).fit(X)
    assert ensemble._state.units.scalings[0].kind == "standard"
    assert [len(rows) for rows in ensemble.estimators_samples_] == [180] * 4
    used = np.bincount(np.concatenate(ensemble.estimators_features_), minlength=21)
    assert set(used) == {1, 2}
    for b, rows in enumerate(ensemble.estimators_samples_):
        expected = trained_alone(ensemble, X, starts[0], b, rows)
        assert_array_equal(ensemble.members_[b]._state.parameters, expected)


def test_results_do_not_depend_on_threads_or_slices(make_problem, monkeypatch):
    X, labels = groups_of(make_problem)
    fits = []
    for n_threads, seconds in ((1, 0.05), (2, 0.05), (3, 1e-9)):
        monkeypatch.setattr(many, "SLICE_SECONDS", seconds)
        options = {"n_components": 5, "max_epochs": 6, "random_state": 0, "n_threads": n_threads}
        fits.append(AutoencoderEnsemble(**options).fit(X, groups=labels))
    for other in fits[1:]:
        assert_array_equal(other._state.values, fits[0]._state.values)
        assert_array_equal(other.score_samples(X, labels), fits[0].score_samples(X, labels))


def test_tables_that_do_not_fit_the_buffer_are_gathered_in_parts(make_problem):
    X = np.random.default_rng(0).random((5000, 41))  # 1.6 MB; the buffer has 256 KiB
    options = {"n_components": 3, "max_epochs": 2, "batch_size": 48, "init": "glorot"}
    ensemble = AutoencoderEnsemble(random_state=0, scale=None, **options)
    ensemble.fit(X, groups=np.zeros(5000, int))
    [member] = ensemble.members_
    alone = Autoencoder(**member.get_params()).fit(X)
    assert_array_equal(member.components_, alone.components_)


# ---- statistics of many tables ----


def test_survey_matches_numpy(tiles, make_problem):
    X, labels = groups_of(make_problem)
    X[3, 2] = np.nan
    groups, number = np.unique(labels, return_inverse=True)
    order = np.argsort(number, kind="stable")
    begins = np.concatenate([[0], np.cumsum(np.bincount(number))])
    everywhere = (-np.inf, np.inf)
    status, found = survey(X, (begins, order), everywhere, np.empty(0), 2, missing=True)
    assert status == 0
    for b, group in enumerate(groups):
        table = X[labels == group]
        mean = np.nanmean(table, axis=0)
        assert_allclose(found["means"][b], mean, rtol=1e-14)
        assert_allclose(found["deviations"][b], np.nanstd(table, axis=0), rtol=1e-13)
        assert_array_equal(found["low"][b], np.nanmin(table, axis=0))
        assert_array_equal(found["high"][b], np.nanmax(table, axis=0))
        centred = np.where(np.isnan(table), 0, table - mean)
        expected = centred.T @ centred / len(table)
        assert_allclose(found["covariances"][b], expected, rtol=1e-10, atol=1e-14)
    status, _ = survey(X, (begins, order), everywhere, np.empty(0), 1)
    assert status != 0  # NaN where nothing may be missing


def test_start_near_pca_is_nearly_that_of_one_autoencoder(make_problem):
    X, labels = groups_of(make_problem)
    for output in ("gaussian", "bernoulli"):
        options = {"n_components": 4, "output": output, "max_epochs": 0, "random_state": 0}
        ensemble = AutoencoderEnsemble(**options).fit(X, groups=labels)
        for label, member in zip(ensemble.groups_, ensemble.members_, strict=True):
            rows = X[labels == label]
            alone = Autoencoder(**member.get_params()).fit(rows)
            gained = alone.score(rows) - clone(alone).set_params(init="glorot").fit(rows).score(
                rows
            )
            assert member.score(rows) > alone.score(rows) - 0.1 * abs(gained)


# ---- pooled results ----


def test_pooled_results_are_means_over_members(make_problem):
    X, _ = make_problem(80, 9, 3)
    ensemble = AutoencoderEnsemble(5, n_components=2, max_epochs=2, random_state=0).fit(X)
    scores, counts, rows = np.zeros((80, 9)), np.zeros(9), np.zeros((80, 9))
    for member, columns in zip(ensemble.members_, ensemble.estimators_features_, strict=True):
        assert len(columns) == 5
        scores[:, columns] += member.score_samples(X[:, columns], per_feature=True)
        rows[:, columns] += member.reconstruct(X[:, columns])
        counts[columns] += 1
    assert_allclose(ensemble.score_samples(X, per_feature=True), scores / counts)
    assert_allclose(ensemble.score_samples(X), (scores / counts).sum(axis=1))
    assert_allclose(ensemble.reconstruct(X), rows / counts)
    H = ensemble.transform(X)
    assert H.shape == (80, 10) and len(ensemble.get_feature_names_out()) == 10
    assert_allclose(ensemble.inverse_transform(H), ensemble.reconstruct(X))
    each = ensemble.score_samples(X, per_member=True)
    assert_allclose(
        each[:, 2], ensemble.members_[2].score_samples(X[:, ensemble.estimators_features_[2]])
    )
    assert ensemble.score(X) == pytest.approx(ensemble.score_samples(X).mean())


def test_rows_go_to_the_member_of_their_group(make_problem):
    X, labels = groups_of(make_problem)
    names = np.array(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])[labels]
    ensemble = AutoencoderEnsemble(n_components=3, max_epochs=3, random_state=0)
    ensemble.fit(X, groups=names.astype(object))
    assert ensemble.groups_.tolist() == ["a", "c", "e", "f", "j"]
    for method in ("score_samples", "reconstruct", "transform", "reconstruction_error"):
        found = getattr(ensemble, method)(X, groups=names)
        for name in ensemble.groups_:
            own = getattr(ensemble.member(name), method)(X[names == name])
            assert_array_equal(found[names == name], own)
    with pytest.raises(ValueError, match="'k' was not among the 5 groups"):
        ensemble.score_samples(X[:1], groups=["k"])
    with pytest.raises(ValueError, match="give the groups"):
        ensemble.transform(X)
    with pytest.raises(ValueError, match="per_member"):
        ensemble.score_samples(X, groups=names, per_member=True)


@pytest.mark.parametrize("by_group", [False, True])
def test_results_are_written_to_a_memory_map(by_group, tmp_path):
    """In parts, each with its groups."""
    random = np.random.default_rng(0)
    X = random.normal(size=(PART_ROWS + 700, 5)).astype(np.float32)
    groups = random.integers(3, size=len(X)) if by_group else None
    ensemble = AutoencoderEnsemble(3, n_components=2, max_epochs=1, random_state=0)
    ensemble.fit(X, groups=groups)
    calls = [("transform", {}), ("reconstruct", {}), ("score_samples", {})]
    calls += [("score_samples", {"per_feature": True})]
    calls += [] if by_group else [("score_samples", {"per_member": True})]
    for name, options in calls:
        method = getattr(ensemble, name)
        expected = method(X, groups, **options)
        out = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, expected.shape)
        assert method(X, groups, **options, out=out) is out
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    with pytest.raises(ValueError, match="out must"):
        ensemble.transform(X, groups, out=np.empty((3, 3), np.float32))
    if by_group:
        with pytest.raises(ValueError, match="groups must have one label for each"):
            ensemble.transform(X, np.r_[groups, 0], out=out)


def test_a_list_of_tables_is_an_ensemble_of_groups(make_problem):
    pandas = pytest.importorskip("pandas")
    X, labels = groups_of(make_problem)
    tables = [pandas.DataFrame(X[labels == g]).add_prefix("x") for g in (0, 2, 4)]
    options = {"n_components": 3, "max_epochs": 3, "random_state": 0}
    ensemble = AutoencoderEnsemble(**options).fit(tables)
    kept = np.isin(labels, (0, 2, 4))
    order = np.argsort(labels[kept], kind="stable")
    other = AutoencoderEnsemble(**options).fit(X[kept][order], groups=labels[kept][order])
    assert ensemble.groups_.tolist() == [0, 1, 2]
    assert_array_equal(ensemble._state.values, other._state.values)
    assert ensemble.members_[1].feature_names_in_[3] == "x3"
    with pytest.raises(ValueError, match=r"X\[2\] differs from X\[0\]"):
        AutoencoderEnsemble().fit([*tables[:2], tables[2].add_prefix("y")])
    with pytest.raises(ValueError, match="must have equal columns"):
        AutoencoderEnsemble().fit([X[:5], X[:5, :3]])
    with pytest.raises(ValueError, match="groups must be None"):
        AutoencoderEnsemble().fit([X[:5], X[:5]], groups=[1, 2])


# ---- choices, errors, files ----


@pytest.mark.parametrize("output", ["gaussian", "poisson", "bernoulli"])
def test_defaults_learn(output):
    random = np.random.default_rng(0)
    H = random.normal(size=(600, 3))
    X = H @ random.normal(size=(3, 12))
    X = {
        "gaussian": X + 0.3 * random.normal(size=X.shape),
        "poisson": np.round(np.exp(X / 2)),
        "bernoulli": 1 / (1 + np.exp(-X)),
    }[output]
    options = {"output": output, "random_state": 0}
    ensemble = AutoencoderEnsemble(6, max_features=1.0, **options).fit(X)
    report = ensemble.fit_report_
    assert 1 <= report["n_components"] <= 6 and report["n_members"] == 6
    assert report["loss"] < report["constant_loss"]
    alone = Autoencoder(report["n_components"], **options).fit(X)
    constant = Autoencoder(1, max_epochs=0, init="glorot", **options).fit(X)
    gained = alone.score(X) - constant.score(X)
    assert ensemble.score(X) > constant.score(X) + 0.9 * gained


def test_errors_name_the_argument(make_problem):
    X, labels = groups_of(make_problem)
    mixed = [("gaussian", slice(0, 5)), ("bernoulli", slice(5, 13))]
    for options, groups, message in [
        ({"max_features": 3, "output": mixed}, None, "max_features must be 'auto' or all"),
        ({"max_samples": 0}, None, "max_samples"),
        ({"solver": "lbfgs"}, None, "solver"),
        ({}, labels[:-1], "groups must have one label"),
        ({"output": "poisson"}, labels, "poisson"),
    ]:
        with pytest.raises(ValueError, match=message):
            AutoencoderEnsemble(**options).fit(X - 2, groups=groups)
    with pytest.raises(TypeError, match="groups must be integers or strings"):
        AutoencoderEnsemble().fit(X, groups=labels + 0.5)
    Y = X.copy()
    Y[17, 3] = np.nan
    with pytest.raises(ValueError, match="row 17, column 3"):
        AutoencoderEnsemble().fit(Y, groups=labels)


def test_members_that_diverge_keep_finite_parameters(make_problem):
    X, labels = groups_of(make_problem)
    X = X.copy()
    X[labels == 5] *= 1e6
    options = {"n_components": 3, "solver": "sgd", "learning_rate": 0.05, "scale": None}
    options |= {"max_epochs": 8, "activation": "linear", "init": "glorot", "random_state": 0}
    ensemble = AutoencoderEnsemble(**options)
    with pytest.warns(Warning, match="1 of 5 members diverged"):
        ensemble.fit(X, groups=labels)
    assert np.isfinite(ensemble._state.values).all()
    assert ensemble.n_epochs_.min() < ensemble.n_epochs_.max() == 8
    with pytest.raises(FloatingPointError, match="all 5 members diverged"):
        clone(ensemble).fit(X * 1e6, groups=labels)


def test_an_interrupt_leaves_a_usable_ensemble(make_problem, monkeypatch):
    X, labels = groups_of(make_problem)
    calls = []

    class Interrupted(EnsembleTrainer):
        def run(self, first, last, rows):
            done = super().run(first, last, rows)
            calls.append(done)
            if len(calls) == 12:
                raise KeyboardInterrupt
            return done

    monkeypatch.setattr(many, "EnsembleTrainer", Interrupted)
    monkeypatch.setattr(many, "SLICE_SECONDS", 1e-9)
    ensemble = AutoencoderEnsemble(n_components=3, max_epochs=9, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        ensemble.fit(X, groups=labels)
    assert 0 < ensemble.n_epochs_.sum() < 9 * 5
    assert [len(curve) for curve in ensemble.loss_curves_] == ensemble.n_epochs_.tolist()
    assert np.isfinite(ensemble.score_samples(X, labels)).all()


@pytest.mark.parametrize("by_group", [False, True])
@pytest.mark.parametrize("output", ["gaussian", "poisson"])
def test_saved_in_one_file(output, by_group, make_problem, tmp_path):
    X, labels = groups_of(make_problem, np.float32)
    X, groups = np.round(30 * X), labels if by_group else None
    ensemble = AutoencoderEnsemble(4, n_components=3, output=output, max_epochs=3, random_state=0)
    ensemble.fit(X, groups=groups)
    ensemble.save(tmp_path / "models")
    loaded = aefast.load(tmp_path / "models")
    assert loaded.get_params() == ensemble.get_params()
    assert_array_equal(loaded.score_samples(X, groups), ensemble.score_samples(X, groups))
    assert_array_equal(loaded._state.values, ensemble._state.values)
    assert loaded.n_epochs_.tolist() == ensemble.n_epochs_.tolist()
    for curve, other in zip(loaded.loss_curves_, ensemble.loss_curves_, strict=True):
        assert_array_equal(curve, other)
    if not by_group:
        assert_array_equal(loaded.estimators_samples_, ensemble.estimators_samples_)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "models").read_bytes()

"""Networks of sparse rows: steps against the reference, and every method against dense rows."""

import functools
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from reference import noise as reference_noise
from scipy import sparse
from support.problems import (
    assert_same_gradients,
    expected_step,
    parameters_of,
    step,
)
from support.textbook import Autoencoder, StackedAutoencoder

import aefast
from aefast._base.sparse_rows import SparseRows
from aefast.networks.one_pass import one_pass
from aefast.sparse_coding.coding import Settings, code_rows

N, D, K = 45, 21, 6
MIXED = [
    ("gaussian", [0, 1, 2]),
    ("poisson", list(range(3, 12))),
    ("multinomial", list(range(12, 21))),
]
OUTPUTS = ("gaussian", "bernoulli", "poisson", "multinomial", "student_t", MIXED)
NAMES = {str(name): name for name in OUTPUTS} | {"mixed": MIXED}
del NAMES[str(MIXED)]
VARIANTS = {
    "plain": {},
    "masking": {"corruption": ("masking", 0.3)},
    "dropout of inputs": {"corruption": ("dropout", 0.3)},
    "noise on zeros": {"corruption": ("gaussian", 0.5)},
    "salt and pepper": {"corruption": ("salt_and_pepper", 0.3)},
    "rows of norm 1": {"row_norm": "l2", "corruption": ("dropout", 0.5)},
    "penalties": {"contraction": 0.2, "alpha": 0.3, "sparsity": ("l1", 0.1)},
}


def sparse_rows(output, n=N, d=D, density=0.3, seed=0):
    """Return CSR rows in the output's domain, with an empty row and an empty column."""
    random = np.random.default_rng(seed)
    X = np.where(random.random((n, d)) < density, random.uniform(0.2, 1.0, (n, d)), 0.0)
    if output in ("poisson", "multinomial"):
        X = np.ceil(5 * X)
    if output is MIXED:
        X[:, 3:] = np.ceil(5 * X[:, 3:])
    if output in ("gaussian", "student_t"):
        X = X * random.choice([-1.0, 1.0], X.shape)
    X[3], X[:, 2] = 0.0, 0.0
    return sparse.csr_array(X)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_steps_match_the_reference(name, variant, isa):
    """Gradients of sparse rows in float64 agree to 1e-10 of their largest entry."""
    output, options = NAMES[name], VARIANTS[variant]
    X = sparse_rows(output)
    dense = X.toarray()
    weight = np.random.default_rng(4).uniform(0.2, 2.0, N)
    theta = np.full(D, 0.1 if name == "student_t" else 0.0)
    for tied in (True, False):
        parameters = parameters_of(D, K, tied)
        settings = {"sample_weight": weight}
        loss, gradients, of_theta, ae = step(
            X, parameters, theta, output=output, **settings, **options
        )
        encoded = dense
        if "row_norm" in options:
            encoded = reference_noise.divided_by_norms(dense)
        if "corruption" in options:
            bounded = output if isinstance(output, str) else ""
            low = np.zeros(D) if bounded not in ("gaussian", "student_t") else dense.min(axis=0)
            high = np.ones(D) if bounded == "bernoulli" else dense.max(axis=0)
            if output is MIXED:
                low[:3] = dense[:, :3].min(axis=0)
            seed, noise = ae._state.seed, options["corruption"]
            encoded = reference_noise.corrupted(encoded, *noise, seed, low=low, high=high)
        others = {n: v for n, v in options.items() if n not in ("corruption", "row_norm")}
        expected_loss, expected, expected_theta = expected_step(
            dense, parameters, theta, output, encoded=encoded, **settings, **others
        )
        assert loss == pytest.approx(expected_loss, rel=1e-12)
        assert_same_gradients(gradients, expected, 1e-10)
        if len(of_theta):
            np.testing.assert_allclose(of_theta, expected_theta, rtol=1e-9, atol=1e-12)


FITS = {
    "adam": {"output": "poisson"},
    "sgd, momentum, tanh": {"solver": "sgd", "momentum": 0.5, "activation": "tanh"},
    "sgd, untied": {"solver": "sgd", "momentum": 0.0, "tied": False},
    "adagrad, untied": {"solver": "adagrad", "tied": False, "output": "bernoulli"},
    "lbfgs": {"solver": "lbfgs", "output": "bernoulli"},
    "Mult-DAE": {
        "output": "multinomial",
        "tied": False,
        "activation": "tanh",
        "row_norm": "l2",
        "corruption": ("dropout", 0.5),
    },
    "clipping, norms": {"clip_norm": 0.1, "max_norm": 0.5, "tied": False},
    "early stopping": {"early_stopping": True, "max_epochs": 6},
    "top-k": {"top_k": 1, "n_components": 10},
    "top-k of many": {"top_k": 4, "n_components": 10},
    "codes": {"dropout": 0.3, "sparsity": ("kl", 0.1, 0.1), "activation": "sigmoid"},
    "gain": {"gain": True, "output": "gaussian"},
    "many rows at a time": {"batch_size": 700},
}


@functools.cache
def table(output, dtype, n=700, d=37):
    X = sparse_rows(output, n, d, 0.2).astype(dtype)
    return X, X.toarray()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FITS)
def test_fits_and_methods_equal_those_of_dense_rows(name, dtype):
    options = {"n_components": 7, "max_epochs": 3, "random_state": 0} | FITS[name]
    X, dense = table(options.get("output", "gaussian"), dtype)
    weight = np.random.default_rng(1).integers(0, 3, len(dense))
    of_sparse = Autoencoder(**options).fit(X, sample_weight=weight)
    of_dense = Autoencoder(**options).fit(dense, sample_weight=weight)
    close = {"rtol": 1e-3, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-11}
    np.testing.assert_allclose(of_sparse.loss_curve_, of_dense.loss_curve_, **close)
    np.testing.assert_allclose(
        of_sparse.validation_loss_curve_, of_dense.validation_loss_curve_, **close
    )
    np.testing.assert_allclose(of_sparse.components_, of_dense.components_, **close)
    ae = of_dense
    for rows in (slice(None), slice(0, 5)):  # many rows, and few
        for method in (
            ae.transform,
            ae.reconstruct,
            ae.reconstruction_error,
            functools.partial(ae.reconstruction_error, per_feature=True),
            ae.score_samples,
            functools.partial(ae.score_samples, per_feature=True),
        ):
            result, expected = method(X[rows]), method(dense[rows])
            assert result.dtype == expected.dtype
            np.testing.assert_allclose(result, expected, **close)


def test_start_near_pca_is_that_of_dense_rows():
    """Adam takes rounding errors of an empty column for a gradient: only losses are compared."""
    X, dense = table("gaussian", np.float64)
    ae = aefast.Autoencoder(7, scale=None, max_epochs=3, random_state=0)
    np.testing.assert_allclose(ae.fit(X).loss_curve_, ae.fit(dense).loss_curve_, rtol=1e-3)


def test_partial_fit_and_warm_start_go_on_with_either():
    X, dense = table("poisson", np.float64)
    options = {"n_components": 4, "output": "poisson", "random_state": 0, "max_epochs": 2}
    mixed, plain = Autoencoder(**options), Autoencoder(**options)
    for rows in (X, dense, X[:100]):
        mixed.partial_fit(rows)
        plain.partial_fit(rows if isinstance(rows, np.ndarray) else rows.toarray())
    mixed.set_params(warm_start=True).fit(X)
    plain.set_params(warm_start=True).fit(dense)
    np.testing.assert_allclose(mixed.components_, plain.components_, rtol=1e-9)


@pytest.mark.parametrize("density", [0.05, 0.3])  # losses of single entries, and of whole rows
@pytest.mark.parametrize("scale", [None, "standard"])
def test_stored_entries_alone_have_a_loss_where_others_are_missing(scale, density):
    """Ratings: rows that store nothing else than what was rated are rows with NaN."""
    X = sparse_rows("gaussian", 700, 37, density)
    dense = X.toarray()
    gaps = np.where(dense == 0, np.nan, dense)
    options = {"n_components": 4, "scale": scale, "max_epochs": 3, "random_state": 0}
    rated = aefast.Autoencoder(sparse_means="missing", init="glorot", **options).fit(X)
    fill = {"missing_fill": "zero" if scale is None else "mean", "corruption": None}
    masked = aefast.Autoencoder(missing="mask", init="glorot", **fill, **options)
    masked.fit(gaps)
    np.testing.assert_allclose(rated.components_, masked.components_, rtol=1e-9, atol=1e-12)
    for method in ("transform", "score_samples", "reconstruction_error", "reconstruct"):
        result, expected = getattr(rated, method)(X), getattr(masked, method)(gaps)
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-11)
    per_entry = rated.score_samples(X, per_feature=True)
    np.testing.assert_array_equal(per_entry == 0, np.isnan(gaps))
    filled = rated.impute(X)
    np.testing.assert_array_equal(filled[dense != 0], dense[dense != 0])
    np.testing.assert_allclose(filled, np.where(dense == 0, rated.reconstruct(X), dense))


def test_missing_entries_need_a_fit_with_missing_entries():
    X, _ = table("gaussian", np.float64)
    ae = Autoencoder(3, max_epochs=1).fit(X).set_params(sparse_means="missing")
    with pytest.raises(ValueError, match="sparse_means='missing' needs a fit with missing"):
        ae.transform(X)


def test_deep_networks():
    X, dense = table("bernoulli", np.float64)
    options = {"output": "bernoulli", "max_epochs": 2, "pretrain_epochs": 2, "random_state": 0}
    options |= {"corruption": ("masking", 0.2), "row_norm": "l2"}
    of_sparse = StackedAutoencoder((9, 4), **options).fit(X)
    of_dense = StackedAutoencoder((9, 4), **options).fit(dense)
    for method in ("transform", "reconstruct", "score_samples"):
        result, expected = getattr(of_sparse, method)(X), getattr(of_dense, method)(dense)
        np.testing.assert_allclose(result, expected, rtol=1e-8)


@pytest.mark.parametrize("scoring", ["hidden", "rows"])
def test_choice_of_parameters(scoring):
    X, dense = table("poisson", np.float64)
    base = aefast.Autoencoder(output="poisson", init="glorot", max_epochs=2, random_state=0)
    search = aefast.AutoencoderCV(
        base, {"n_components": [2, 5]}, cv=2, scoring=scoring, random_state=0
    )
    of_sparse, of_dense = search.fit(X).cv_results_, search.fit(dense).cv_results_
    tolerance = 1e-9 if scoring == "rows" else 0.05  # other entries are hidden
    np.testing.assert_allclose(
        of_sparse["mean_test_score"], of_dense["mean_test_score"], rtol=tolerance
    )
    assert search.fit(X).transform(X).shape == (len(dense), search.n_components_)


def test_automatic_parameters_keep_zeros():
    """The defaults choose units and scale without centring, and beat the column means."""
    random = np.random.default_rng(0)
    H = random.random((400, 4)) ** 4
    X = sparse.csr_matrix(np.round(20 * H @ (random.random((4, 300)) < 0.05)))
    for output in ("gaussian", "poisson", "multinomial"):
        ae = aefast.Autoencoder(output=output, max_epochs=30, random_state=0).fit(X)
        assert ae.fit_report_["loss"] < ae.fit_report_["constant_loss"]
        assert 2 <= ae.fit_report_["n_components"] <= 16
        assert ae._state.scaling is None or not ae._state.scaling.shift.any()
        assert ae._state.reading.keeps_zeros(absent_missing=False)
    with pytest.raises(ValueError, match="scale='robust' needs dense rows"):
        aefast.Autoencoder(3, scale="robust").fit(X)


def test_wide_rows_begin_near_pca():
    """More columns than a covariance matrix is made for: the start is found by Lanczos' method."""
    random = np.random.default_rng(1)
    X = sparse.random(300, 1500, 0.02, format="csr", rng=random)
    ae = aefast.Autoencoder(max_epochs=2, random_state=0).fit(X)
    assert ae.fit_report_["loss"] < 1.05 * ae.fit_report_["constant_loss"]


def test_bits_do_not_depend_on_threads_or_slices():
    X = sparse.random(900, 700, 0.5, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    options = {"output": "bernoulli", "batch_size": 600, "max_epochs": 2, "random_state": 0}
    fits = [Autoencoder(20, n_threads=n, **options).fit(X) for n in (1, 2, 3)]
    for ae in fits[1:]:
        np.testing.assert_array_equal(ae.components_, fits[0].components_)
        np.testing.assert_array_equal(ae.transform(X), fits[0].transform(X))


def same_rows(X):
    """Return the same rows in every form that counts as sparse."""
    unsorted = sparse.csr_array(
        (X.data[::-1].copy(), X.indices[::-1].copy(), (X.nnz - X.indptr[::-1]).copy()), X.shape
    )[::-1]
    unsorted = sparse.csr_array((unsorted.data, unsorted.indices, unsorted.indptr), X.shape)
    halves = sparse.csr_array(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), X.shape
    )
    wide = sparse.csr_array(X.shape, dtype=X.dtype)
    wide.data, wide.indices, wide.indptr = (
        X.data,
        X.indices.astype(np.int64),
        X.indptr.astype(np.int64),
    )
    coo = X.tocoo()
    zeros = sparse.csr_array(
        (
            np.append(coo.data, 0.0)[np.argsort(np.append(coo.row, 3), kind="stable")],
            np.append(coo.col, 5)[np.argsort(np.append(coo.row, 3), kind="stable")],
            np.cumsum(np.append(0, np.bincount(np.append(coo.row, 3), minlength=X.shape[0]))),
        ),
        X.shape,
    )
    frame = pd.DataFrame.sparse.from_spmatrix(X)
    return {
        "csr_matrix": sparse.csr_matrix(X),
        "csc_array": X.tocsc(),
        "coo_array": coo,
        "unsorted": unsorted,
        "duplicates": halves,
        "int64 indices": wide,
        "explicit zero": zeros,
        "sparse frame": frame.set_axis([str(i) for i in range(X.shape[1])], axis=1),
    }


@pytest.mark.parametrize("form", list(same_rows(sparse_rows("poisson"))))
def test_every_form_of_sparse_rows(form):
    """Results are those of the sorted CSR matrix, and the caller's matrix stays as it is."""
    X = sparse_rows("poisson")
    given = same_rows(X)[form]
    before = given.copy()
    ae = Autoencoder(3, output="poisson", max_epochs=2, random_state=0)
    expected = ae.fit(X).transform(X)
    np.testing.assert_allclose(ae.fit(given).transform(given), expected, rtol=1e-12)
    if sparse.issparse(given) and given.format == "csr":
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(given, name), getattr(before, name))


def test_memory_maps(tmp_path):
    X, _ = table("poisson", np.float32)
    parts = {}
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(X, name))
        parts[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    mapped = sparse.csr_array((parts["data"], parts["indices"], parts["indptr"]), X.shape)
    assert np.shares_memory(SparseRows.of(mapped).values, parts["data"])
    ae = Autoencoder(3, output="poisson", max_epochs=2, random_state=0)
    expected = ae.fit(X).transform(X)
    np.testing.assert_array_equal(ae.fit(mapped).transform(mapped), expected)


def broken(**changes):
    X = sparse_rows("poisson").copy()
    for name, (place, value) in changes.items():
        getattr(X, name)[place] = value
    return X


@pytest.mark.parametrize(
    ("X", "output", "message"),
    [
        (broken(indices=(4, D)), "poisson", rf"column index {D} in row 0 is not in \[0, {D}\)"),
        (broken(indices=(4, -1)), "poisson", "column index -1"),
        (broken(indptr=(2, 10**6)), "poisson", "indptr must rise"),
        (broken(data=(7, -1.0)), "multinomial", "Negative values.*'multinomial'.*row 1, column"),
        (broken(data=(7, np.nan)), "poisson", "NaN at row 1"),
        (broken(data=(7, np.inf)), "gaussian", "infinity"),
        (broken(), "bernoulli", r"'bernoulli' expects values of X in \[0, 1\], got 4.0 at row 0"),
        (broken(), "gamma", "above 0, got 0.0 at row 0, column"),
        (sparse_rows("bernoulli"), "categorical", "row 0 of X adds up to"),
    ],
)
def test_rows_that_cannot_be_used_are_named(X, output, message):
    with pytest.raises(ValueError, match=message):
        Autoencoder(3, output=output, max_epochs=1).fit(X)


def test_rows_are_checked_after_the_fit_too():
    X = sparse_rows("bernoulli")
    ae = Autoencoder(3, output="bernoulli", max_epochs=1).fit(X)
    bad = X.copy()
    bad.data[bad.indptr[5]] = 1.5
    for method in (ae.transform, ae.score_samples):
        for rows in (bad, sparse.vstack([bad] * 3, format="csr")):
            with pytest.raises(ValueError, match=r"got 1.5 at row 5, column"):
                method(rows)
    clipped = ae.set_params(domain="clip").transform(bad)
    bad.data[bad.indptr[5]] = 1.0
    np.testing.assert_array_equal(clipped, ae.transform(bad))


def test_reconstructions_in_slices_and_above_a_threshold():
    X, _ = table("poisson", np.float64)
    ae = Autoencoder(3, output="poisson", max_epochs=2, random_state=0).fit(X)
    whole = ae.reconstruct(X)
    parts = list(ae.reconstruct_slices(X, 128))
    assert [len(part) for part in parts[:-1]] == [128] * (len(parts) - 1)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)
    threshold = float(np.median(whole))
    above = ae.reconstruct(X, threshold=threshold)
    assert sparse.issparse(above)
    np.testing.assert_allclose(above.toarray(), np.where(whole > threshold, whole, 0), rtol=1e-12)
    with pytest.raises(ValueError, match="n_rows must be at least 1"):
        ae.reconstruct_slices(X, 0)


def test_no_array_of_all_rows_and_columns_is_made():
    n, d = 3000, 6000
    X = sparse.random(n, d, 0.002, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    ae = aefast.Autoencoder(4, output="multinomial", max_epochs=2, random_state=0, scale=None)
    ae.fit(X[:100])
    tracemalloc.start()
    ae.fit(X)
    ae.transform(X)
    ae.score_samples(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * d * 4 / 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
def test_entries_beyond_2_31(tmp_path, index_type):
    """The last rows of a table of more than 2**31 entries, of which a hole in a file is most."""
    X, _ = table("poisson", np.float32)
    hole, arrays = 2**31 + 3, []
    for name, dtype in (("indices", index_type), ("data", np.float32)):
        stored = getattr(X, name).astype(dtype)
        array = np.memmap(tmp_path / name, dtype, "w+", shape=(hole + len(stored),))
        array[hole:] = stored
        arrays.append(array)
    far = SparseRows(X.indptr.astype(np.int64) + hole, *arrays, X.shape[1])
    near = SparseRows.of(X)
    assert far.nnz == near.nnz and far.row_begin[0] > 2**31
    np.testing.assert_array_equal(far.toarray(), near.toarray())
    np.testing.assert_array_equal(far[[5, 3]].toarray(), near[[5, 3]].toarray())
    np.testing.assert_array_equal(far.to_csr().toarray(), near.toarray())
    options = {"output": "poisson", "max_epochs": 2, "random_state": 0}
    for more in ({}, {"reconstruction_sampling": 3}, {"corruption": ("gaussian", 0.1)}):
        fits = []
        for rows in (far, near):
            ae = Autoencoder(3, **options, **more)
            ae._table = lambda X, rows=rows, **_: rows
            fits.append(ae.fit(X))
        np.testing.assert_array_equal(fits[0].components_, fits[1].components_)
    model = fits[0]._state.model
    parameters = model.split(fits[0]._state.parameters)
    for result in ("codes", "row_losses"):
        of_far, of_near = (one_pass(model, parameters, rows, result) for rows in (far, near))
        np.testing.assert_array_equal(of_far, of_near)
    settings = Settings("lasso_cd", 0.1, None, False, 1e-4, 1000, 1)
    atoms = np.random.default_rng(0).normal(size=(5, X.shape[1])).astype(np.float32)
    codes = [code_rows(rows, atoms, settings).codes for rows in (far, near)]
    np.testing.assert_array_equal(*codes)

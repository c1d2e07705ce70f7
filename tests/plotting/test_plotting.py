"""Pictures show the numbers they claim to show, and are written whole or not at all."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError
from support.textbook import Autoencoder

from aefast import plotting


def fitted(n_features, n_components=5, n_samples=30, **options):
    """An estimator with some training behind it, and the rows it has seen."""
    X = np.random.default_rng(n_features).random((n_samples, n_features))
    options = {"max_epochs": 2, "batch_size": 16, "random_state": 0} | options
    return Autoencoder(n_components, **options).fit(X), X


def drawn(figure):
    """The figure, laid out and drawn; a warning while that goes on is an error."""
    assert isinstance(figure, Figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    return figure


def panels(figure):
    """Title and image of each axes that has both."""
    return {
        axes.get_title(): axes.images[0].get_array()
        for axes in figure.axes
        if axes.images and axes.get_title()
    }


def tiles(mosaic, height, width):
    """The images of a mosaic, row by row: what lies between its lines of NaN."""
    gap = 1 + height // 20
    mosaic = np.ma.filled(np.ma.masked_invalid(mosaic), np.nan)
    found = [
        mosaic[top : top + height, left : left + width]
        for top in range(0, mosaic.shape[0], height + gap)
        for left in range(0, mosaic.shape[1], width + gap)
    ]
    return [tile for tile in found if not np.isnan(tile).all()]


def patterns(ae, X):
    """Covariance of each feature with each standardised activation, one pair at a time."""
    H = ae.transform(X)
    return np.array([[np.cov(x, h, bias=True)[0, 1] / h.std() for x in X.T] for h in H.T])


# ---- filters ----


def test_filters_are_tiles_in_order_of_norm():
    ae, _ = fitted(64, 7)
    figure = drawn(plotting.filters(ae))
    order = np.argsort(-np.linalg.norm(ae.components_, axis=1))
    shown = tiles(panels(figure)["weights"], 8, 8)
    assert np.array_equal(shown, ae.components_[order].reshape(-1, 8, 8))
    image = figure.axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high, "white is zero"
    assert "7 components, largest norm first" in figure.get_suptitle()


def test_filters_with_rows_show_patterns_in_order_of_contribution():
    ae, X = fitted(64, 7)
    contribution = ae.transform(X).std(axis=0) * np.linalg.norm(ae.components_, axis=1)
    order = np.argsort(-contribution)
    figure = drawn(plotting.filters(ae, X=X))
    (pattern,) = panels(figure).values()
    expected = patterns(ae, X)[order].reshape(-1, 8, 8)
    np.testing.assert_allclose(tiles(pattern, 8, 8), expected, rtol=1e-9, atol=1e-12)
    assert "largest contribution first" in figure.get_suptitle()


def test_untied_filters_show_both_matrices_in_one_order():
    ae, _ = fitted(64, 4, tied=False)
    order = np.argsort(-np.linalg.norm(ae.decoder_components_, axis=1))
    shown = panels(drawn(plotting.filters(ae)))
    assert list(shown) == ["encoder's weights", "decoder's weights"]
    encoder, decoder = (tiles(mosaic, 8, 8) for mosaic in shown.values())
    assert np.array_equal(encoder, ae.components_[order].reshape(-1, 8, 8))
    assert np.array_equal(decoder, ae.decoder_components_[order].reshape(-1, 8, 8))


def test_filters_of_a_table_are_a_heat_map_with_names():
    names = [f"column {index}" for index in range(64)]  # a square number, but it has names
    X = pd.DataFrame(np.random.default_rng(0).random((30, 64)), columns=names)
    ae = Autoencoder(5, max_epochs=1, random_state=0).fit(X)
    figure = drawn(plotting.filters(ae, X=X))
    correlations = panels(figure)["patterns, 60 of 64 features"]
    assert correlations.shape == (60, 5)
    H, contribution = ae.transform(X), ae.transform(X).std(axis=0)
    order = np.argsort(-contribution * np.linalg.norm(ae.components_, axis=1))
    expected = np.corrcoef(X.T, H.T)[:64, 64:][:, order]
    chosen = np.sort(np.argsort(-np.abs(expected).max(axis=1))[:60])
    np.testing.assert_allclose(correlations, expected[chosen], rtol=1e-6, atol=1e-9)
    few = Autoencoder(5, max_epochs=1, random_state=0).fit(X.iloc[:, :6])
    figure = drawn(plotting.filters(few))
    order = np.argsort(-np.linalg.norm(few.components_, axis=1))
    assert np.array_equal(panels(figure)["weights"], few.components_[order].T)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == names[:6]
    assert [int(label.get_text()) for label in axes.get_xticklabels()] == list(order)


@pytest.mark.parametrize(
    "n_features, image_shape, expected",
    [
        (64, None, (8, 8)),
        (49, None, ()),
        (65, None, ()),
        (64, (), ()),
        (64, (4, 16), (4, 16)),
        (12, (3, 4), (3, 4)),
        (12, (2, 6, 1), (2, 6)),
    ],
)
def test_what_is_an_image(n_features, image_shape, expected):
    ae, X = fitted(n_features, 2)
    (mosaic,) = panels(drawn(plotting.filters(ae, image_shape))).values()
    if expected:
        assert {tile.shape for tile in tiles(mosaic, *expected)} == {expected}
    else:
        assert mosaic.shape == (min(n_features, 60), 2)
    first = drawn(plotting.reconstructions(ae, X, image_shape)).axes[0]
    assert bool(first.images) == bool(expected)


@pytest.mark.parametrize(
    "image_shape, match",
    [
        ((8, 9), r"expected 64 pixels.*\(8, 9\), which has 72"),
        ((64,), r"expected \(height, width\)"),
        ((4, 4, 4), r"expected \(height, width\)"),
        ((2, 2, 4, 4), r"expected \(height, width\)"),
        ((-8, -8), "expected 64 pixels"),
    ],
)
def test_bad_image_shape(image_shape, match):
    ae, X = fitted(64)
    with pytest.raises(ValueError, match=f"image_shape: {match}"):
        plotting.filters(ae, image_shape)
    with pytest.raises(ValueError, match=f"image_shape: {match}"):
        plotting.reconstructions(ae, X, image_shape)


def test_colour_images():
    """Zero is mid-grey; input and reconstruction keep their colours."""
    ae, X = fitted(4 * 4 * 3, 3, max_epochs=0)
    ae.components_[:] = 0
    (mosaic,) = panels(drawn(plotting.filters(ae, (4, 4, 3)))).values()
    assert (np.asarray(mosaic)[:4, :4] == 0.5).all()
    grid = drawn(plotting.reconstructions(ae, X, (4, 4, 3))).axes
    best = X[np.argmin(ae.reconstruction_error(X))]
    np.testing.assert_allclose(grid[0].images[0].get_array(), best.reshape(4, 4, 3))


def test_more_filters_than_fit():
    ae, _ = fitted(64, 200, max_epochs=0)
    figure = drawn(plotting.filters(ae))
    assert "144 of 200 components" in figure.get_suptitle()
    assert len(tiles(panels(figure)["weights"], 8, 8)) == 144


# ---- reconstructions ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_reconstructions_go_from_best_to_worst(dtype):
    ae, X = fitted(64)
    X = (X * 255).astype(dtype) if dtype is np.uint8 else X.astype(dtype)
    losses = ae.reconstruction_error(X)
    chosen = np.argsort(losses)[np.linspace(0, len(X) - 1, 12).round().astype(int)]
    figure = drawn(plotting.reconstructions(ae, X))
    grid = np.array(figure.axes[:36]).reshape(3, 12)
    assert "too bright" in figure.axes[36].get_ylabel(), "what red and blue mean"
    assert [axes.get_title() for axes in grid[0]] == [f"{loss:.3g}" for loss in losses[chosen]]
    images = np.array([[axes.images[0].get_array() for axes in row] for row in grid])
    original, reconstructed, difference = images.reshape(3, 12, 64)
    assert np.array_equal(original, X[chosen])
    assert np.array_equal(reconstructed, ae.reconstruct(X[chosen]))
    assert np.array_equal(difference, reconstructed - original)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["input", "reconstruction", "difference"]


def test_rows_are_named():
    ae, X = fitted(64)
    labels = [f"id {i}" for i in range(len(X))]
    losses = ae.reconstruction_error(X)
    titles = [
        axes.get_title() for axes in drawn(plotting.reconstructions(ae, X, labels=labels)).axes
    ]
    worst = int(np.argmax(losses))
    assert titles[11] == f"id {worst}\n{losses[worst]:.3g}"
    ae, X = fitted(9, 4)
    for axes in drawn(plotting.reconstructions(ae, X, labels=labels)).axes[1:]:
        column = int(axes.get_title().removeprefix("feature "))
        furthest = np.argmax(np.abs(X - ae.reconstruct(X))[:, column])
        assert [text.get_text() for text in axes.texts] == [f"id {furthest}"]


def test_black_and_white_are_0_and_1():
    ae, X = fitted(64)
    assert plotting.reconstructions(ae, X).axes[0].images[0].get_clim() == (0, 1)
    wide = plotting.reconstructions(ae, 300 * X[:2]).axes[0].images[0].get_clim()
    assert wide == (300 * X[:2].min(), 300 * X[:2].max())


def test_reconstructions_of_a_table():
    """Bars are the share of each feature's variance missed.

    Points are inputs against reconstructions.
    """
    X = np.random.default_rng(0).normal(size=(50, 9)) * np.arange(1, 10)
    X[:, 4] = 3.0  # has no variance
    names = [f"x{index}" for index in range(9)]
    X = pd.DataFrame(X, columns=names)
    ae = Autoencoder(4, max_epochs=5, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(plotting.reconstructions(ae, X))
    X_hat = ae.reconstruct(X)
    missed = ((X - X_hat) ** 2).mean() / X.var(ddof=0)
    bars, *scatters = figure.axes
    order = [label.get_text() for label in bars.get_yticklabels()]
    assert sorted(order) == names and order[-1] == "x4"
    widths = [bar.get_width() for bar in bars.patches]
    np.testing.assert_allclose(widths[:-1], missed[order[:-1]])
    assert np.isnan(widths[-1])
    assert widths[:-1] == sorted(widths[:-1], reverse=True)
    assert len(scatters) == 6
    for axes in scatters:
        column = names.index(axes.get_title())
        points = axes.collections[0].get_offsets()
        assert np.array_equal(points, np.column_stack([X.iloc[:, column], X_hat[:, column]]))
    assert scatters[-1].get_title() == order[0], "the last is the worst"


def test_many_rows_and_features():
    ae, X = fitted(50, 3, n_samples=2500, max_epochs=0)
    bars, *scatters = drawn(plotting.reconstructions(ae, X)).axes
    assert len(bars.patches) == 20 and bars.get_title() == "the 20 worst features"
    assert [len(axes.collections[0].get_offsets()) for axes in scatters] == [834] * 6


@pytest.mark.parametrize(
    "n_samples, n_features, n_components", [(1, 1, 1), (1, 64, 1), (2, 5, 1), (3, 2, 90)]
)
def test_smallest_sizes(n_samples, n_features, n_components):
    ae, X = fitted(n_features, n_components, n_samples)
    drawn(plotting.filters(ae))
    drawn(plotting.filters(ae, X=X))
    drawn(plotting.reconstructions(ae, X))
    drawn(plotting.loss(ae))


def test_lists_are_rows_too():
    ae, X = fitted(64)
    left, right = (plotting.reconstructions(ae, rows) for rows in (X, X.tolist()))
    for a, b in zip(left.axes[:36], right.axes[:36], strict=True):
        assert np.array_equal(a.images[0].get_array(), b.images[0].get_array())


def test_rows_that_do_not_suit_the_estimator():
    ae, X = fitted(64)
    with pytest.raises(ValueError, match="63 features"):
        plotting.reconstructions(ae, X[:, :63])
    with pytest.raises(ValueError, match="63 features"):
        plotting.filters(ae, X=X[:, :63])


# ---- loss ----


def test_loss_shows_the_curve():
    ae, _ = fitted(6, max_epochs=7, tol=0)
    axes = drawn(plotting.loss(ae)).axes[0]
    (line,) = axes.lines
    assert list(line.get_xdata()) == [1, 2, 3, 4, 5, 6, 7]
    assert list(line.get_ydata()) == ae.loss_curve_
    assert "nats per sample" in axes.get_ylabel()
    assert f"{ae.loss_curve_[-1]:.4g} at the end" in line.get_label()


def test_loss_marks_the_smallest_validation_loss():
    ae, _ = fitted(6, max_epochs=6, early_stopping=True, tol=0)
    ae.validation_loss_curve_ = [5.0, 3.0, 2.0, 4.0, 2.5, 2.0]
    axes = drawn(plotting.loss(ae)).axes[0]
    _, validation, smallest = axes.lines
    assert list(validation.get_ydata()) == ae.validation_loss_curve_
    assert (list(smallest.get_xdata()), list(smallest.get_ydata())) == ([3], [2.0])
    assert smallest.get_label() == "smallest: 2 in epoch 3"


@pytest.mark.parametrize(
    "curve, scale",
    [
        ([9.0, 6.0, 5.0], "linear"),
        ([9.0, 4.0, 3.0], "log"),
        ([1e6, 1.0], "log"),
        ([9.0, -1.0], "linear"),
    ],
)
def test_scale_of_the_loss(curve, scale):
    ae, _ = fitted(6)
    ae.loss_curve_ = curve
    axes = drawn(plotting.loss(ae)).axes[0]
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2, "the scale can be read"


def test_loss_beside_held_out_rows_and_the_means():
    ae, _ = fitted(6, max_epochs=3, tol=0)
    axes = drawn(plotting.loss(ae, [3.0, 2.5, 2.25], 4.0)).axes[0]
    _, held_out, means = axes.lines
    assert list(held_out.get_ydata()) == [3.0, 2.5, 2.25]
    assert held_out.get_label() == "held-out rows: 2.25 at the end"
    assert set(means.get_ydata()) == {4.0} and means.get_label() == "column means: 4"


def test_loss_before_any_epoch():
    ae, _ = fitted(6, max_epochs=0)
    assert not drawn(plotting.loss(ae)).axes[0].lines


# ---- files and matplotlib ----


@pytest.mark.parametrize(
    "name, signature",
    [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.SVG", b"<?xml"), ("a", b"\x89PNG")],
)
def test_save(name, signature, tmp_path):
    ae, _ = fitted(6)
    plotting.save(plotting.loss(ae), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(signature)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_failing_save_leaves_the_old_file(tmp_path):
    figure = plotting.loss(fitted(6)[0])
    old = tmp_path / "a.unknown"
    old.write_bytes(b"old")
    with pytest.raises(ValueError, match="unknown"):
        plotting.save(figure, old)
    assert old.read_bytes() == b"old"
    with pytest.raises(FileNotFoundError, match="nowhere/a"):
        plotting.save(figure, tmp_path / "nowhere" / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.unknown"]


def test_without_matplotlib(monkeypatch):
    ae, X = fitted(64)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (plotting.filters, plotting.loss, lambda ae: plotting.reconstructions(ae, X)):
        with pytest.raises(ImportError, match=r"pip install 'aefast\[plot\]'"):
            draw(ae)


def test_no_window_and_no_global_state():
    """matplotlib is imported when a picture is drawn, pyplot never."""
    code = """
import sys
import numpy as np
from aefast import Autoencoder, plotting
ae = Autoencoder(2, max_epochs=1).fit(np.eye(9))
assert "matplotlib" not in sys.modules
plotting.filters(ae), plotting.reconstructions(ae, np.eye(9)), plotting.loss(ae)
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unfitted():
    X = np.ones((2, 64))
    for draw in (plotting.filters, plotting.loss, lambda ae: plotting.reconstructions(ae, X)):
        with pytest.raises(NotFittedError):
            draw(Autoencoder())


def test_pictures_of_rows_with_gaps():
    """A gap is compared with nothing: the shares are those of the entries that are there.

    Patterns have no NaN.
    """
    X = np.random.default_rng(0).normal(size=(80, 5))
    X[::3, 2], X[1:, 4] = np.nan, np.nan
    ae = Autoencoder(3, missing="mask", max_epochs=3, random_state=0).fit(X)
    for picture in (plotting.filters(ae, X=X), plotting.reconstructions(ae, X)):
        picture.canvas.draw()
    bars = plotting.reconstructions(ae, X).axes[0].patches
    seen = ~np.isnan(X[:, 2])
    share = ((ae.reconstruct(X)[seen, 2] - X[seen, 2]) ** 2).mean() / X[seen, 2].var()
    assert min(abs(bar.get_width() - share) for bar in bars) < 1e-12
    images = np.where(np.random.default_rng(1).random((70, 64)) < 0.2, np.nan, 0.5)
    of_images = Autoencoder(3, missing="mask", max_epochs=1, random_state=0).fit(images)
    plotting.reconstructions(of_images, images, (8, 8)).canvas.draw()
    for axes in plotting.filters(of_images, (8, 8), images).axes[:1]:
        assert np.isfinite(axes.images[0].get_array()).any()

"""Lists and pictures of the largest weights of units, by name."""

import numpy as np
import pytest
from support.factor_problems import make_rows

import aefast
from aefast import Autoencoder, FactorAnalysis, ProbabilisticPCA
from aefast.plotting import top_features, words

NAMES = [f"word {j}" for j in range(10)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "weights_of"),
    [
        (FactorAnalysis(3), lambda model: model.loadings_.T),
        (ProbabilisticPCA(3), lambda model: model.components_),
        (
            Autoencoder(3, tied=False, max_epochs=2, random_state=0),
            lambda model: model.decoder_components_,
        ),
    ],
    ids=["loadings", "components", "decoder"],
)
def test_largest_weights_by_name(model, weights_of):
    model.fit(make_rows())
    weights = weights_of(model)
    top = top_features(model, NAMES, n=4, units=[2, 0])
    for row, unit in zip(top, (2, 0), strict=True):
        order = np.argsort(-np.abs(weights[unit]), kind="stable")[:4]
        assert [name for name, _ in row] == [NAMES[j] for j in order]
        assert [value for _, value in row] == [weights[unit, j] for j in order]
    assert len(top_features(model)) == 3 and len(top_features(model)[0]) == 10
    assert {name for name, _ in top_features(model)[0]} == {f"x{j}" for j in range(10)}


def test_picture():
    model = ProbabilisticPCA(3).fit(make_rows())
    model.feature_names_in_ = np.array(["a $ sign and a very long name", *NAMES[1:]], object)
    figure = words(model, n=10)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == ["unit 0", "unit 1", "unit 2"]
    for axes, row in zip(panels, top_features(model), strict=True):
        bars = sorted(axes.patches, key=lambda bar: -bar.get_y())
        assert [bar.get_width() for bar in bars] == [value for _, value in row]
        colors = [bar.get_facecolor() for bar in bars]
        assert len(set(colors)) == len({value < 0 for _, value in row})
        texts = [label.get_text() for label in axes.get_yticklabels()]
        assert r"a \$ sign and a very lo…" in texts
    figure.canvas.draw()


def test_refusals():
    model = ProbabilisticPCA(3).fit(make_rows())
    for call, error, match in (
        (lambda: top_features(model, NAMES[:4]), ValueError, "names must have 10 texts"),
        (lambda: top_features(model, "0123456789"), ValueError, "names must have 10 texts"),
        (lambda: top_features(model, n=0), ValueError, "n must be at least 1"),
        (lambda: top_features(model, units=[3]), ValueError, "units must be in"),
        (lambda: top_features(model, units=1), ValueError, "a list of integers"),
        (lambda: words("model"), TypeError, "a fitted estimator"),
        (lambda: words(aefast.DictionaryLearning()), Exception, "not fitted"),
    ):
        with pytest.raises(error, match=match):
            call()

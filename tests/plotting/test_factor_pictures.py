"""Pictures of loadings: numbers in the cells of small tables, small loadings faint."""

import numpy as np
from support.factor_problems import make_rows

from aefast import FactorAnalysis
from aefast.plotting import factors


def test_cells_of_small_tables_have_their_numbers():
    model = FactorAnalysis(3, rotation="varimax").fit(make_rows())
    axes = factors.loadings(model).axes[0]
    texts = {text.get_position(): text for text in axes.texts}
    assert len(texts) == 30
    for (j, i), value in np.ndenumerate(model.loadings_):
        text = texts[i + 1, j]
        assert float(text.get_text().replace("−", "-")) == round(value, 2) + 0.0
        assert text.get_text() != "−0.00"
        assert (text.get_color() == "0.6") == (abs(value) < 0.3)
    alpha = axes.images[0].get_alpha()
    np.testing.assert_array_equal(alpha < 1, np.abs(model.loadings_) < 0.3)


def test_large_tables_have_none():
    X = np.random.default_rng(0).normal(size=(300, 1)) + np.random.default_rng(1).normal(
        size=(300, 41)
    )
    assert not factors.loadings(FactorAnalysis(1).fit(X)).axes[0].texts

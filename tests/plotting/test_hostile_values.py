"""Arguments of pictures with values that nobody means: errors name them."""

import inspect

import numpy as np
import pytest
from support.hostile import check_named

import aefast
from aefast import plotting

X = np.random.default_rng(0).random((30, 4))
SHAPE = (2, 2)
pytestmark = pytest.mark.filterwarnings("ignore")
# A page is drawn in a fifth of a second, some sixty times for each of its parameters.
TIERS = {"report": pytest.mark.extra}
PARAMETERS = [
    pytest.param(name, parameter, marks=TIERS.get(name, ()))
    for name in plotting.__all__
    for parameter in inspect.signature(getattr(plotting, name)).parameters
]


@pytest.fixture(scope="module")
def arguments():
    ae = aefast.Autoencoder(2, max_epochs=1, random_state=0).fit(X)
    chain = ae.walk_back(X[:3], 2, random_state=0)
    return {
        "filters": {"ae": ae, "image_shape": SHAPE},
        "loss": {"ae": ae},
        "reconstructions": {"ae": ae, "X": X},
        "report": {"model": ae, "X": X, "path": "a.html", "image_shape": SHAPE},
        "top_features": {"model": ae},
        "words": {"model": ae},
        "walk": {"ae": ae, "X": X[:3], "chain": chain, "image_shape": SHAPE},
        "save": {"figure": plotting.loss(ae), "path": "a.png"},
    }


@pytest.mark.parametrize("name, parameter", PARAMETERS)
def test_pictures(name, parameter, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw, given = getattr(plotting, name), arguments[name]
    draw(**given)
    check_named(lambda value: draw(**(given | {parameter: value})), parameter)


def test_chains_of_another_shape_are_refused(arguments):
    given = arguments["walk"]
    for chain in (given["chain"][:, :2], given["chain"][:0], given["chain"][..., :3]):
        with pytest.raises(ValueError, match=r"chain must have shape \(n_steps, 3, 4\)"):
            plotting.walk(**(given | {"chain": chain}))

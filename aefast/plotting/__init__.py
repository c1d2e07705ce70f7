"""Pictures of models and of their results, drawn by matplotlib.

`report` writes a page of HTML about a model and rows. Each other function returns a
`matplotlib.figure.Figure` that belongs to no window and touches no global
state of pyplot; `save` writes a figure to a file. matplotlib is an optional dependency
(``pip install 'aefast[plot]'``), imported when the first picture is drawn; without it each function
raises an ImportError.

Features that are the pixels of an image are drawn as images, other features as a table.
"""

from aefast.plotting.figures import save
from aefast.plotting.filters import filters
from aefast.plotting.networks import loss, walk
from aefast.plotting.reconstruction import reconstructions
from aefast.plotting.report import report
from aefast.plotting.words import top_features, words

__all__ = ["filters", "loss", "reconstructions", "report", "save", "top_features", "walk", "words"]


def __dir__() -> list[str]:
    return __all__

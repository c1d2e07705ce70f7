"""Pictures of models and of their results, drawn by matplotlib."""

from aefast.plotting.networks import filters, loss, reconstructions, save, walk

__all__ = ["filters", "loss", "reconstructions", "save", "walk"]


def __dir__() -> list[str]:
    return __all__

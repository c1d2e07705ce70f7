"""Rivals, one file each; a new one is a file ``peer_NAME.py`` with a class ``Peer(BasePeer)``."""

from importlib import import_module
from pkgutil import iter_modules

# aefast first, then from the simplest to the most elaborate; a rival not named here comes last.
ORDER = (
    "aefast",
    "aefast-blas",
    "numpy",
    "sklearn",
    "torch-eager",
    "torch-compiled",
    "jax-step",
    "jax-scan",
)


def load_peers():
    """Return the class of every rival by name, whether its library is installed or not."""
    modules = [m.name for m in iter_modules(__path__) if m.name.startswith("peer_")]
    peers = [import_module(f"{__name__}.{name}").Peer for name in modules]
    peers.sort(key=lambda peer: ORDER.index(peer.name) if peer.name in ORDER else len(ORDER))
    return {peer.name: peer for peer in peers}

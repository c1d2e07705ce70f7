"""aefast with SciPy's BLAS in place of its tiles."""

from benchmarks.peers.peer_aefast import Peer as AefastPeer


class Peer(AefastPeer):
    name = "aefast-blas"
    note = "aefast with AEFAST_PRODUCTS=blas: the same phases around SciPy's BLAS"

    @classmethod
    def precisions(cls):
        return ("float32",)

    @classmethod
    def environment(cls, n_threads):
        return {**super().environment(n_threads), "AEFAST_PRODUCTS": "blas"}

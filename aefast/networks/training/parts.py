"""Parts of a table that stand for all of its rows where a pass over them would cost too much."""

import numpy as np

MOST_ENTRIES = 1 << 23  # of rows that are copied for statistics
BLOCKS = 256  # blocks of adjacent rows of which a part of a table consists


def spread_rows(train, n):
    """Return at most n row numbers, in short blocks that are evenly spread over those for training.

    Rows of a block are adjacent, so that few pages of a memory map are read.
    """
    n_rows = train if isinstance(train, int) else len(train)
    if n_rows <= n:
        return np.arange(n_rows) if isinstance(train, int) else train[np.arange(n_rows)]
    height = -(-n // BLOCKS)
    first = np.linspace(0, n_rows - height, n // height).astype(np.int64)
    places = (first[:, np.newaxis] + np.arange(height)).ravel()
    return places if isinstance(train, int) else train[places]

"""Heat maps of a table's variables by something else, with names and numbers in small ones."""

import numpy as np

from aefast.plotting.figures import diverging_map

MOST_NAMES = 40  # of variables or components that are written
_MOST_NUMBERED = 12  # columns of a heat map of which cells carry numbers
_SALIENT = 0.3  # magnitude, of the largest, from which a cell is not faint


def size_of(n_rows, n_columns, rows, width=None):
    """Return the inches (width, height) of a figure with one heat map."""
    if width is None:
        is_numbered = n_columns <= _MOST_NUMBERED and n_rows <= MOST_NAMES
        width = float(np.clip((0.6 if is_numbered else 0.3) * n_columns, 3.0, 10.0))
    longest = max([0, *map(len, rows)]) if n_rows <= MOST_NAMES else 0
    return width + 1.8 + 0.085 * longest, float(np.clip(0.27 * n_rows, 2.0, 10.0)) + 1.4


def draw_heat_map(axes, values, rows, columns, limit, label, texts=None):
    """Draw a heat map into axes, white at zero.

    Parameters
    ----------
    axes : Axes
    values : ndarray (n_rows, n_columns)
        NaN is grey.
    rows, columns : list of str
        Names.
    limit : float
        Magnitude of the darkest colours.
    label : str
        Of the colour scale.
    texts : list of list of str, optional
        What the cells say; by default the values, in maps of at most 12 columns and 40 rows.
    """
    n_rows, n_columns = values.shape
    image = axes.imshow(
        values,
        cmap=diverging_map(),
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    extend = "both" if _exceeds(values, limit) else "neither"
    axes.figure.colorbar(image, ax=axes, label=label, extend=extend)
    if texts is not None or (n_columns <= _MOST_NUMBERED and n_rows <= MOST_NAMES):
        _write_texts(axes, values, limit, texts)
    if n_rows <= MOST_NAMES:
        axes.set_yticks(range(n_rows), rows)
    if n_columns <= MOST_NAMES:
        is_long = max([0, *map(len, columns)]) * n_columns > 80
        axes.set_xticks(range(n_columns), columns, rotation=90 if is_long else 0)
    else:
        axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _exceeds(values, limit):
    seen = values[~np.isnan(values)]
    return bool(seen.size) and float(np.abs(seen).max()) > limit * (1 + 1e-9)


def _write_texts(axes, values, limit, texts):
    """Write values or other texts into cells: grey where faint, white on dark colours."""
    for (i, j), value in np.ndenumerate(values):
        size = 0.0 if np.isnan(value) else abs(value) / limit
        color = "0.6" if size < _SALIENT else "white" if size > 0.65 else "black"
        text = number(value) if texts is None else texts[i][j]
        if not (np.isnan(value) and texts is None):
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=color)


def number(value):
    """Return a number with two digits after the point and a proper minus, without a −0."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")

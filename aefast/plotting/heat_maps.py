"""Heat maps of a table's variables by something else, with names and numbers in small ones."""

import numpy as np

from aefast.plotting.figures import diverging_map, new_figure

MOST_NAMES = 40  # of variables or components that are written
_MOST_NUMBERED = 12  # columns of a heat map of which cells carry numbers
_SALIENT = 0.3  # magnitude, of the largest, from which a cell is not faint


def heat_map(values, rows, columns, limit, label, *, numbers=None, width=None):
    """Return a figure and its axes with a heat map, white at zero.

    Parameters
    ----------
    values : ndarray (n_rows, n_columns)
        NaN is grey.
    rows, columns : list of str
        Names.
    limit : float
        Magnitude of the darkest colours.
    label : str
        Of the colour scale.
    numbers : ndarray of str, optional
        What the cells say; by default the values, in maps of at most 12 columns and 40 rows.
    width : float, optional
        Inches of the map.
    """
    n_rows, n_columns = values.shape
    is_numbered = numbers is not None or (n_columns <= _MOST_NUMBERED and n_rows <= MOST_NAMES)
    if width is None:
        width = float(np.clip((0.6 if is_numbered else 0.3) * n_columns, 3.0, 10.0))
    longest = max([0, *map(len, rows)]) if n_rows <= MOST_NAMES else 0
    figure = new_figure(width + 1.8 + 0.085 * longest, np.clip(0.27 * n_rows, 2.0, 10.0) + 1.4)
    axes = figure.add_subplot()
    image = axes.imshow(
        values,
        cmap=diverging_map(),
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=axes, label=label, extend="both" if _exceeds(values, limit) else None)
    if is_numbered:
        _write_numbers(axes, values, limit, numbers)
    if n_rows <= MOST_NAMES:
        axes.set_yticks(range(n_rows), rows)
    if n_columns <= MOST_NAMES:
        is_long = sum(map(len, columns)) > 12 * width
        axes.set_xticks(range(n_columns), columns, rotation=90 if is_long else 0)
    else:
        axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _exceeds(values, limit):
    seen = values[~np.isnan(values)]
    return bool(seen.size) and float(np.abs(seen).max()) > limit * (1 + 1e-9)


def _write_numbers(axes, values, limit, numbers):
    """Write values or other texts into cells: grey where faint, white on dark colours."""
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        size = abs(value) / limit
        color = "0.6" if size < _SALIENT else "white" if size > 0.65 else "black"
        text = number(value) if numbers is None else numbers[i, j]
        axes.text(j, i, text, ha="center", va="center", fontsize=7, color=color)


def number(value):
    """Return a number with two digits after the point and a proper minus, without a −0."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")

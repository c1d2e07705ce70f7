"""Pictures of dictionaries and of denoised images."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from aefast._base.types import Array
from aefast.plotting.figures import diverging_map, mosaic_of, new_figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ATOMS = 400


def picture_of_atoms(
    components: ArrayLike,
    image_shape: tuple[int, ...],
    order: Array | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw atoms as images, each scaled separately because sign and norm of an atom are arbitrary.

    Parameters
    ----------
    components : array (n_components, n_features)
    image_shape : tuple (height, width)
    order : array of int, optional
        Indices of the atoms in drawing order; the first 400 are drawn.
    title : str, optional

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    atoms = np.asarray(components, np.float64)
    atoms = (atoms if order is None else atoms[order])[:MOST_ATOMS]
    atoms = atoms / np.maximum(np.abs(atoms).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    figure = new_figure(7.0, 7.4)
    axes = figure.add_subplot()
    height, width = image_shape[:2]
    n_columns = max(1, round(math.sqrt(len(atoms) * height / width)))
    show_image(
        axes, mosaic_of(atoms.reshape(-1, *image_shape), n_columns), diverging_map(), -1.0, 1.0
    )
    axes.set_axis_off()
    axes.set_title(title or f"{len(np.asarray(components))} atoms")
    return figure


def picture_of_denoising(panels: Mapping[str, Array]) -> "Figure":
    """Draw images side by side; `panels` maps titles to images with values in [0, 1]."""
    height, width = next(iter(panels.values())).shape[:2]
    figure = new_figure(4.2 * len(panels), 4.2 * height / width + 0.5)
    for axes, (title, image) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axes.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title, fontsize=10)
    return figure

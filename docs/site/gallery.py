"""The gallery is made of examples/: each script is run, and its pictures are shown.

A script that has a picture saves it in the working directory under its own name, with an ending
if there are several: anomalies.png, anomalies-rows.png. Scripts run in a copy of the folder, which
keeps pictures out of the checkout.
"""

import shutil
import textwrap
from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

# easy ones first; a script that is not named here comes last, by its name
ORDER = (
    "first_autoencoder",
    "denoise_digits",
    "digits_in_two_dimensions",
    "strange_wines",
    "how_sure_is_a_filled_gap",
    "a_model_for_each_machine",
    "mixed_table",
    "sample_digits",
    "rotated_loadings",
    "how_many_components",
    "how_many_units",
    "mixture_along_a_curve",
    "denoise_in_closed_form",
    "whitened_photographs",
    "filters_of_patches",
    "few_active_features",
    "codes_with_labels",
    "walk_of_digits",
    "atoms_of_photographs",
    "denoise_a_photograph",
    "sparse_codes",
    "likelihood_of_counts",
    "robust_losses",
    "solvers",
    "topics_of_documentation",
    "recommend_items",
)


def in_gallery(path):
    """Return whether a script has the form of the gallery: a title is underlined."""
    return path.read_text(encoding="utf-8").split("\n", 3)[2].startswith("===")


def stage(root):
    """Copy the examples of the gallery; return the folder, which keeps the times of files."""
    folder = root / "build" / "examples"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy2(root / "examples" / "GALLERY_HEADER.rst", folder)
    for path in sorted((root / "examples").glob("*.py")):
        if in_gallery(path):
            shutil.copy2(path, folder)
    return folder


def scrape(block, block_vars, gallery_conf, **arguments):
    """Move the pictures that the block has saved to where the gallery wants them."""
    script = Path(block_vars["src_file"])
    targets = block_vars["image_path_iterator"]
    moved = []
    for picture in sorted(script.parent.glob(f"{script.stem}*.png")):
        moved.append(next(targets))
        shutil.move(picture, moved[-1])
    if not moved:
        return ""
    shown = textwrap.indent(figure_rst(moved, gallery_conf["src_dir"]).strip("\n"), "   ")
    return f"\n.. container:: picture\n\n{shown}\n\n"  # which scrolls on narrow screens


def order(name):
    return (ORDER.index(name[:-3]) if name[:-3] in ORDER else len(ORDER), name)

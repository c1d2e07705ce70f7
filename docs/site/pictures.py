"""Draw the guide's pictures that examples draw: ``python docs/site/pictures.py [EXAMPLE ...]``.

A picture of docs/guide with the name of a script in examples/ is that script's. Without arguments
all of them are drawn again. Colours are reduced to 128, which keeps the repository small.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"
EXAMPLES = ROOT / "examples"
WIDTH = 1500  # pixels at most


def of_examples():
    """Return the names of the pictures that examples draw."""
    return sorted(
        path.stem for path in GUIDE.glob("*.png") if (EXAMPLES / f"{path.stem}.py").exists()
    )


def draw(name):
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MPLBACKEND": "agg"}
        script = str(EXAMPLES / f"{name}.py")
        subprocess.run([sys.executable, script], cwd=folder, env=environment, check=True)
        image = Image.open(Path(folder, f"{name}.png")).convert("RGB")
        if image.width > WIDTH:
            height = round(image.height * WIDTH / image.width)
            image = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
        image.quantize(128, dither=Image.Dither.NONE).save(GUIDE / f"{name}.png", optimize=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="EXAMPLE")
    for name in parser.parse_args().names or of_examples():
        draw(name)


if __name__ == "__main__":
    main()

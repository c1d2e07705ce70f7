"""Commands `aefast dictionary` and `aefast denoise`: learn a dictionary, denoise an image."""

import json
import os
import time
from pathlib import Path

import numpy as np

import aefast
from aefast._base import threads
from aefast.cli.common import (
    DATA_HELP,
    METRICS_NAME,
    MODEL_NAME,
    add_folder,
    add_reading,
    add_seed,
    add_threads,
    add_training,
    describe,
    model_path,
    read_data,
    report,
    training_options,
)
from aefast.tables.outputs import check_can_write, check_can_write_file
from aefast.tables.sources import paths_of

_PICTURE_NAME = "dictionary.png"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".webp")
_SAMPLE_IMAGES = ("china.jpg", "flower.jpg")
_IMAGE_HELP = (
    "an image file, or 'china.jpg' or 'flower.jpg', the photographs that come with scikit-learn"
)
_MOST_TESTED_ROWS = 5000
# Options of `aefast dictionary` that are numbers: flags, default, help.
_NUMBERS = (
    ("-k --components", 256, "atoms"),
    ("--alpha", 0.5, "penalty: 1/2 ||x - h D||^2 + A ||h||_1"),
    ("--epochs", 10, "passes over the rows, at most"),
    ("--patch", 8, "side of the patches, in pixels"),
    ("--patches", 30_000, "patches drawn from the images"),
)


def add_dictionary(command):
    describe(
        command,
        _dictionary,
        "From images: grey patches, the mean of each taken off, all divided by their standard "
        "deviation. From rows: as they are. A tenth is held out. "
        f"What comes of it goes to one folder: {MODEL_NAME}, {METRICS_NAME} and, with matplotlib, "
        f"{_PICTURE_NAME}, most used atoms first. Ctrl-C ends the learning and saves what there "
        "is.",
        {"n_components": "-k", "n_threads": "--threads", "max_epochs": "--epochs"},
    )
    add = command.add_argument
    add(
        "data",
        metavar="DATA|IMAGE",
        nargs="*",
        default=list(_SAMPLE_IMAGES),
        help=f"images ({', '.join(_IMAGE_SUFFIXES)}), or one table: {DATA_HELP}. Default: the two "
        "photographs that come with scikit-learn",
    )
    for flags, default, text in _NUMBERS:
        kind, metavar = (float, "A") if isinstance(default, float) else (int, "N")
        help_text = f"{text} (default: %(default)s)"
        add(*flags.split(), type=kind, default=default, metavar=metavar, help=help_text)
    add(
        "--whiten",
        action="store_true",
        help="whiten patches first (ZCA): atoms become localised and oriented, but are none for "
        "denoising",
    )
    add("--positive", action="store_true", help="codes and atoms that are not negative")
    add_seed(command, "patches, first atoms and shuffles")
    add_threads(command)
    add_training(command)
    add_folder(command, "aefast-dictionary")
    add("--no-plots", action="store_true", help="draw no picture")
    add("--quiet", action="store_true", help="no progress, no summary")
    add_reading(command)


def add_denoise(command):
    describe(
        command,
        _denoise,
        "Overlapping patches are coded with as few atoms as explain them up to the noise; a pixel "
        "becomes the mean of the patches that cover it.",
    )
    add = command.add_argument
    add("image", metavar="IMAGE", help=_IMAGE_HELP)
    add(
        "--dictionary",
        metavar="DICTIONARY",
        help="a model file, or the folder of `aefast dictionary`; by default one is learnt from "
        "IMAGE itself",
    )
    add(
        "--noise",
        type=float,
        metavar="S",
        help="standard deviation of the noise, in grey levels of 255; by default it is estimated",
    )
    add(
        "--add-noise",
        type=float,
        metavar="S",
        help="take IMAGE as clean, and add noise of this standard deviation first",
    )
    add("--clean", metavar="IMAGE", help="the image without noise, to compare with")
    add_seed(command, "added noise and of learning")
    add_threads(command)
    add(
        "-o",
        "--out",
        metavar="FILE.png",
        default="denoised.png",
        help="the image to write (default: %(default)s)",
    )
    add("--comparison", metavar="FILE.png", help="draw the images side by side")


# ---- dictionary ----


def _dictionary(arguments):
    if not (0 < arguments.alpha < np.inf):
        raise ValueError(f"--alpha: expected a positive number, got {arguments.alpha}")
    out = Path(arguments.out)
    inputs = [path for name in arguments.data for path in paths_of(name)]
    check_can_write(out, (MODEL_NAME, METRICS_NAME, _PICTURE_NAME), inputs)
    rows, shape, scale = _rows_and_shape(arguments)
    n_test = min(_MOST_TESTED_ROWS, len(rows) // 10)
    order = np.random.default_rng(arguments.seed).permutation(len(rows))
    test, train = rows[np.sort(order[:n_test])], rows[np.sort(order[n_test:])]
    learner = aefast.DictionaryLearning(
        arguments.components,
        alpha=arguments.alpha,
        max_epochs=arguments.epochs,
        positive_code=arguments.positive,
        positive_dict=arguments.positive,
        random_state=arguments.seed,
        n_threads=arguments.threads,
        **training_options(arguments),
    )
    seconds, interrupted = _learn(learner, train)
    learner.set_params(verbose=0, checkpoint=None)
    metrics = _metrics(arguments, learner, train, test, scale, seconds, interrupted)
    out.mkdir(parents=True, exist_ok=True)
    learner.save(out / MODEL_NAME)
    with aefast.model_file.replacing(out / METRICS_NAME) as file:
        file.write(json.dumps(metrics, indent=2, allow_nan=False).encode() + b"\n")
    if interrupted is not None:
        raise KeyboardInterrupt(
            f"interrupted after {learner.n_epochs_} whole epochs; the dictionary reached is saved "
            f"in {out}"
        ) from interrupted
    written = f"{MODEL_NAME}, {METRICS_NAME}"
    if not arguments.no_plots and shape:
        written += _draw(learner, test if len(test) else train, shape, out)
    report(arguments, _summary(metrics, out, written), metrics)


def _rows_and_shape(arguments):
    """Return the rows, the shape of an atom as an image or (), and the divisor of the patches."""
    names = arguments.data
    are_images = [Path(name).suffix.lower() in _IMAGE_SUFFIXES for name in names]
    if not any(are_images):
        if len(names) > 1:
            raise ValueError(f"DATA: expected images or one table, got {len(names)} tables")
        arguments.data = names[0]
        table = read_data(arguments, numeric=True)
        return np.ascontiguousarray(table.rows), table.image_shape or (), 1.0
    if not all(are_images):
        raise ValueError(f"DATA: expected images or one table, got both: {', '.join(names)}")
    side = arguments.patch
    images = [_read_image(name, grey=True) for name in names]
    patches = aefast.extract_patches(images, side, arguments.patches, arguments.seed)
    patches -= patches.mean(axis=1, keepdims=True)
    if arguments.whiten:
        patches = aefast.Whitening(epsilon=1e-2).fit_transform(patches)
    scale = float(patches.std()) or 1.0
    return (patches / scale).astype(np.float32), (side, side), scale


def _read_image(name, grey=False):
    from aefast.sparse_coding import patches

    if name in _SAMPLE_IMAGES and not Path(name).exists():
        patches.pillow()  # its error, unlike scikit-learn's, names the aefast extra to install
        from sklearn.datasets import load_sample_image

        image = load_sample_image(name) / 255.0
        with threads.same_bits():
            return image @ [0.299, 0.587, 0.114] if grey else image
    return patches.load_image(name, grey)


def _learn(learner, rows):
    started, interrupted = time.perf_counter(), None
    try:
        learner.fit(rows)
    except KeyboardInterrupt as exception:
        if not hasattr(learner, "_state"):
            raise
        interrupted = exception
    return time.perf_counter() - started, interrupted


def _metrics(arguments, learner, train, test, scale, seconds, interrupted):
    held_out = test if len(test) else train
    start = aefast.DictionaryLearning(
        **{**learner.get_params(), "max_epochs": 0, "verbose": 0}
    ).fit(train)
    H = learner.set_params(output_format="csr").transform(held_out)
    learner.set_params(output_format="dense")
    left = np.sum((held_out - learner.inverse_transform(H)) ** 2, dtype=np.float64)
    total = np.sum(np.square(held_out, dtype=np.float64))
    return {
        "data": arguments.data,
        "n_components": len(learner.components_),
        "n_features": learner.n_features_in_,
        "alpha": arguments.alpha,
        "scale": scale,
        "n_rows": {"train": len(train), "test": len(test)},
        "epochs": learner.n_epochs_,
        "interrupted": interrupted is not None,
        "seconds": seconds,
        "objective": {"rows as atoms": -start.score(held_out), "learnt": -learner.score(held_out)},
        "atoms_in_a_code": H.nnz / H.shape[0],
        "energy_explained": float(1 - left / total) if total > 0 else 1.0,
        "unused_atoms": int(np.sum(H.getnnz(axis=0) == 0)),
    }


def _draw(learner, rows, shape, out):
    from aefast import plotting
    from aefast.plotting.atoms import picture_of_atoms

    use = np.abs(learner.transform(rows[:_MOST_TESTED_ROWS])).sum(axis=0)
    try:
        figure = picture_of_atoms(
            learner.components_,
            shape,
            np.argsort(-use, kind="stable"),
            f"{len(learner.components_)} atoms, most used first",
        )
    except ImportError as error:
        return f"\nno picture: {error}"
    plotting.save(figure, out / _PICTURE_NAME)
    return f", {_PICTURE_NAME}"


def _summary(metrics, out, written):
    rows, objective = metrics["n_rows"], metrics["objective"]
    return "\n".join(
        [
            f"{metrics['n_components']} atoms of {metrics['n_features']} features from "
            f"{rows['train']} rows, {metrics['epochs']} epochs in {metrics['seconds']:.1f} s",
            f"on {rows['test'] or rows['train']} {'held-out' if rows['test'] else 'training'} "
            "rows:",
            f"  objective 1/2 ||x - h D||^2 + alpha ||h||_1   {objective['learnt']:.4g}, with rows "
            f"as atoms {objective['rows as atoms']:.4g}",
            f"  atoms in a code                               {metrics['atoms_in_a_code']:.1f}",
            "  energy explained                              "
            f"{100 * metrics['energy_explained']:.1f} %",
            f"  atoms that no code uses                       {metrics['unused_atoms']}",
            f"written to {out}: {written}",
        ]
    )


# ---- denoise ----


def _denoise(arguments):
    from aefast.sparse_coding import denoising, patches

    inputs = [arguments.image, *filter(None, [arguments.clean, arguments.dictionary])]
    check_can_write_file(arguments.out, [*map(model_path, inputs)])
    if arguments.comparison is not None:
        check_can_write_file(arguments.comparison, [*map(model_path, inputs)])
        if os.path.realpath(arguments.comparison) == os.path.realpath(arguments.out):
            raise ValueError("--comparison and --out: expected two files, got the same one")
    for name in ("noise", "add_noise"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"--{name.replace('_', '-')}: expected a positive number, got {value}")
    if arguments.add_noise is not None and arguments.clean is not None:
        raise ValueError("--add-noise takes IMAGE as the clean one: expected no --clean")
    image = patches.as_image(_read_image(arguments.image))
    clean = None if arguments.clean is None else patches.as_image(_read_image(arguments.clean))
    if clean is not None and clean.shape != image.shape:
        raise ValueError(f"--clean: expected an image of shape {image.shape}, got {clean.shape}")
    if arguments.add_noise is not None:
        clean, random = image, np.random.default_rng(arguments.seed)
        image = image + random.normal(0, arguments.add_noise / 255, image.shape)
    noise = _noise_of(arguments, image)
    D = _dictionary_for(arguments, image, noise)
    denoised = np.clip(denoising.denoise(image, D, noise, arguments.threads), 0, 1)
    _write_image(arguments.out, denoised)
    lines = [f"noise: standard deviation {255 * noise:.1f} of 255"]
    facts = {"image": arguments.image, "out": arguments.out, "noise": 255 * noise}
    titles = {"noisy": image, "denoised": denoised}
    if clean is not None:
        before, after = (denoising.psnr(x, clean) for x in (image, denoised))
        lines.append(f"PSNR: {before:.2f} dB before, {after:.2f} dB after")
        facts |= {"psnr": {"before": before, "after": after}}
        titles = {
            "clean": clean,
            f"noisy: {before:.2f} dB": image,
            f"denoised: {after:.2f} dB": denoised,
        }
    if arguments.comparison:
        from aefast import plotting
        from aefast.plotting.atoms import picture_of_denoising

        plotting.save(picture_of_denoising(titles), arguments.comparison)
    lines.append(f"written to {arguments.out}")
    report(arguments, "\n".join(lines), facts)


def _noise_of(arguments, image):
    from aefast.sparse_coding import denoising

    if arguments.noise is not None:
        return arguments.noise / 255
    noise = denoising.estimate_noise(image)
    if noise == 0:
        raise ValueError("IMAGE has no noise that can be estimated: say how much with --noise")
    return noise


def _dictionary_for(arguments, image, noise):
    from aefast.sparse_coding import denoising

    if arguments.dictionary is not None:
        learner = aefast.load(model_path(arguments.dictionary))
        if isinstance(learner, aefast.SparseCoder):
            return learner.dictionary
        if not isinstance(learner, aefast.DictionaryLearning):
            raise ValueError(f"--dictionary: expected a dictionary, got a {type(learner).__name__}")
        return learner.components_
    grey = image if image.ndim == 2 else image.mean(axis=2)
    patches = aefast.extract_patches(grey, 8, 30_000, arguments.seed).astype(np.float32)
    patches -= patches.mean(axis=1, keepdims=True)
    level = noise if image.ndim == 2 else noise / np.sqrt(image.shape[2])
    target = (denoising.NOISE_GAIN * level) ** 2 * patches.shape[1]
    learner = aefast.DictionaryLearning(
        256,
        algorithm="omp",
        alpha=target,
        max_epochs=5,
        random_state=arguments.seed,
        n_threads=arguments.threads,
    )
    return learner.fit(patches).components_


def _write_image(path, image):
    from aefast.sparse_coding.patches import pillow

    Image = pillow()
    pixels = Image.fromarray(np.round(255 * image).astype(np.uint8))
    suffix = Path(path).suffix.lower()
    with aefast.model_file.replacing(path) as file:
        pixels.save(file, format=Image.registered_extensions().get(suffix, "PNG"))

"""Patches of images, and noise removed with them."""

import sys

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from sklearn.datasets import load_sample_image

from aefast import extract_patches
from aefast.sparse_coding.denoising import denoise, estimate_noise, psnr
from aefast.sparse_coding.patches import all_patches, assemble_patches, load_image


def numbered(height, width, channels=None):
    shape = (height, width) if channels is None else (height, width, channels)
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("size", [1, 3, (2, 5)])
def test_patches_are_those_of_the_image(size, channels):
    image = numbered(9, 11, channels)
    height, width = (size, size) if isinstance(size, int) else size
    every = {
        image[i : i + height, j : j + width].tobytes()
        for i in range(9 - height + 1)
        for j in range(11 - width + 1)
    }
    patches = extract_patches(image, size, len(every), random_state=0)
    assert {patch.tobytes() for patch in patches} == every  # no place twice while there are others
    assert {patch.tobytes() for patch in all_patches(image, size)} == every
    assert patches.shape[1] == height * width * (channels or 1)


def test_many_images():
    images = [numbered(8, 8), numbered(20, 30) + 1000, numbered(5, 40) + 5000]
    patches = extract_patches(images, 4, 2000, random_state=1)
    assert patches.shape == (2000, 16)
    share = np.mean((patches.min(axis=1) >= 1000) & (patches.min(axis=1) < 5000))
    assert abs(share - 17 * 27 / (25 + 17 * 27 + 2 * 37)) < 0.05  # as many as the image has places
    np.testing.assert_array_equal(patches, extract_patches(iter(images), 4, 2000, random_state=1))
    stack = np.stack([numbered(6, 6, 3)] * 2)
    assert extract_patches(stack, 2, 7, random_state=0).shape == (7, 12)
    assert extract_patches(numbered(4, 4), 4, 5).shape == (5, 16)  # more than there are places


def test_files(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_allclose(load_image(tmp_path / "colour.png"), pixels / 255)
    np.testing.assert_allclose(load_image(tmp_path / "grey.png"), pixels[..., 0] / 255)
    assert load_image(tmp_path / "colour.png", grey=True).shape == (16, 20)
    paths = [tmp_path / "grey.png", tmp_path / "grey.png"]
    assert extract_patches(paths, 8, 10, random_state=0).shape == (10, 64)
    assert extract_patches(tmp_path / "colour.png", 4, 10).shape == (10, 48)


def test_assembling_gives_the_image_back():
    image = numbered(13, 17, 3)
    total, count = np.zeros_like(image), np.zeros((13, 17))
    for first in (0, 4, 8):
        strip = all_patches(image, 5, first, min(first + 4, 9))
        assemble_patches(strip, total, count, 5, first)
    np.testing.assert_allclose(total / count[..., None], image)
    assert count[6, 8] == 25 and count[0, 0] == 1


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        ((numbered(5, 5), 6), "size must fit"),
        ((numbered(5, 5), 0), "size"),
        ((numbered(5, 5), (2, 2, 2)), "size"),
        ((numbered(5, 5), 2, 0), "n_patches"),
        (([], 2), "at least one image"),
        ((np.zeros(5), 2), "images"),
        (([numbered(5, 5), numbered(5, 5, 3)], 2), "channels"),
    ],
)
def test_bad_arguments(arguments, fragment):
    with pytest.raises(ValueError, match=fragment):
        extract_patches(*arguments)


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        (({"a.png", "b.png"}, 4), "images.* order, got set"),
        (({"a": np.zeros((9, 9))}, 4), "images.* order, got dict"),
        ((np.zeros((9, 9)), None), "size must be an integer, got None"),
        ((np.zeros((9, 9)), 2.5), "size must be an integer, got 2.5"),
        ((np.zeros((9, 9)), "4"), "size must be an integer, got '4'"),
    ],
)
def test_bad_types(arguments, fragment):
    with pytest.raises(TypeError, match=fragment):
        extract_patches(*arguments)


def test_noise_is_estimated_and_removed():
    clean = load_sample_image("flower.jpg")[100:200, 200:320] / 255
    noisy = clean + np.random.default_rng(0).normal(0, 0.08, clean.shape)
    assert estimate_noise(noisy) == pytest.approx(0.08, rel=0.1)
    patches = extract_patches(
        load_sample_image("flower.jpg").mean(axis=2) / 255, 6, 400, random_state=0
    )
    patches -= patches.mean(axis=1, keepdims=True)
    D = patches[patches.any(axis=1)][:150]
    for image, truth in ((noisy, clean), (noisy[..., 0], clean[..., 0])):
        result = denoise(image, D, 0.08)
        assert result.shape == truth.shape
        assert psnr(result, truth) > psnr(image, truth) + 5
    assert psnr(clean, clean) == np.inf
    assert psnr(np.zeros(4), np.full(4, 0.1)) == pytest.approx(20.0)


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        ((numbered(9, 9), np.ones((3, 5)), 0.1), "square"),
        ((numbered(9, 9), np.ones((3, 4)), 0.0), "noise"),
        ((numbered(3, 3), np.ones((3, 16)), 0.1), "at least 4 x 4"),
        ((numbered(9, 9) * np.nan, np.ones((3, 4)), 0.1), "finite"),
    ],
)
def test_what_cannot_be_denoised(arguments, fragment):
    with pytest.raises(ValueError, match=fragment):
        denoise(*arguments)


def test_noise_is_a_number():
    with pytest.raises(TypeError, match="noise must be a number, got 'loud'"):
        denoise(np.zeros((9, 9)), np.eye(9), "loud")


def test_without_pillow(monkeypatch, tmp_path):
    """Arrays need nothing; image files say what they need."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert extract_patches(np.zeros((9, 9)), 4, 2).shape == (2, 16)
    for read in (load_image, lambda path: extract_patches([path], 4, 2)):
        with pytest.raises(ImportError, match=r"pip install 'aefast\[plot\]'"):
            read(tmp_path / "image.png")


@pytest.mark.parametrize(
    "images, n_patches, error, match",
    [
        ([np.zeros((9, 9)), np.zeros(5)], 5, ValueError, "images must be"),
        ([np.zeros((9, 9)), None], 5, ValueError, "images must be"),
        ([np.zeros((9, 9)), 3.0], 5, ValueError, "images must be"),
        ([[[1, 2], [3]], [[1, 2], [3, 4]]], 5, ValueError, "images must be"),
        (sparse.eye_array(9), 5, TypeError, "images must be"),
        (np.zeros((9, 9)), 10**400, ValueError, "n_patches must fit 64 bits"),
        (np.zeros((9, 9)), 2**31, ValueError, r"n_patches must be in \[1, "),
    ],
    ids=["vector", "none", "number", "ragged", "sparse", "huge", "many"],
)
def test_what_is_no_image_is_named(images, n_patches, error, match):
    with pytest.raises(error, match=match):
        extract_patches(images, 2, n_patches)

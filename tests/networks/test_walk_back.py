"""The sampling chain of a denoising autoencoder, and its command."""

import numpy as np
import pandas as pd
import pytest
from support.textbook import Autoencoder

from aefast.cli import main


@pytest.fixture(scope="module")
def denoising(digits):
    ae = Autoencoder(64, output="bernoulli", corruption=("salt_and_pepper", 0.2), random_state=0)
    return ae.set_params(max_epochs=20, learning_rate=0.01).fit(digits)


def test_a_chain(denoising, digits):
    chain = denoising.walk_back(digits[:5], n_steps=7, random_state=3)
    assert chain.shape == (7, 5, 64)
    assert set(np.unique(chain)) == {0.0, 1.0}  # draws of a Bernoulli distribution
    np.testing.assert_array_equal(chain, denoising.walk_back(digits[:5], 7, random_state=3))
    assert (chain != denoising.walk_back(digits[:5], 7, random_state=4)).any()
    np.testing.assert_array_equal(chain[:2], denoising.walk_back(digits[:5], 2, random_state=3))
    assert (chain[1:] != chain[:-1]).any(axis=(1, 2)).all()


def test_without_corruption_each_step_is_a_draw(digits):
    ae = Autoencoder(8, max_epochs=2, random_state=0).fit(digits)
    chain = ae.walk_back(digits[:400], 1, random_state=0)[0]
    difference = chain - ae.reconstruct(digits[:400])
    assert abs(difference.mean()) < 5 / np.sqrt(
        difference.size
    )  # a unit Gaussian, five standard errors
    assert abs(difference.std() - 1) < 0.05


def test_named_columns_and_types(digits):
    frame = pd.DataFrame(digits.astype(np.float32), columns=[f"p{i}" for i in range(64)])
    ae = Autoencoder(8, output="bernoulli", corruption=("gaussian", 0.1), max_epochs=1).fit(frame)
    assert ae.walk_back(frame[:3], 2).dtype == np.float32


def test_refusals(denoising, digits):
    with pytest.raises(ValueError, match="n_steps"):
        denoising.walk_back(digits[:2], 0)
    with pytest.raises(TypeError, match="n_steps"):
        denoising.walk_back(digits[:2], 1.5)
    ae = Autoencoder(4, corruption=("salt_and_pepper", 0.1), max_epochs=1).fit(digits)
    with pytest.raises(ValueError, match="domain"):
        ae.walk_back(digits[:2])


def test_the_command_writes_a_picture_or_rows(denoising, folder, capsys):
    denoising.save("model.safetensors")
    assert main("walk model.safetensors digits --steps 4 --chains 3 --out chain.png".split()) == 0
    assert (folder / "chain.png").stat().st_size > 2000
    assert main("walk model.safetensors digits --steps 4 --chains 3 -o chain.npy".split()) == 0
    assert np.load("chain.npy").shape == (4, 3, 64)
    for wrong in ("--out chain.gif", "--out chain.png --chains 0", "--out chain.npy --steps 0"):
        assert main(f"walk model.safetensors digits {wrong}".split()) != 0
    assert "chains" in capsys.readouterr().err


def test_the_command_takes_every_variant(folder, capsys):
    argv = (
        "fit digits -k 8 --epochs 2 --no-plots --quiet --out m "
        "--output poisson:0-9;huber(delta=2):10-30,31;bernoulli:32-63 "
        "--corruption masking:0.2 --contraction 0.01 --sparsity kl:0.1:0.2 --dropout 0.1"
    )
    assert main(argv.split()) == 0
    import aefast

    model = aefast.load("m/model.safetensors")
    assert model.corruption == ("masking", 0.2) and model.sparsity == ("kl", 0.1, 0.2)
    assert [(d if isinstance(d, str) else d[0]) for d, _ in model.output] == [
        "poisson",
        "huber",
        "bernoulli",
    ]
    assert model.output[1][0] == ("huber", {"delta": 2.0})
    assert main("fit digits -k 8 --epochs 2 --no-plots --quiet --out n --solver lbfgs".split()) == 0
    assert main("fit digits -k 8 --epochs 2 --no-plots --quiet --out n --top-k 2".split()) == 0
    capsys.readouterr()
    for wrong, name in {
        "--output gaussian:0-3": "column",
        "--output poisson:pixel": "pixel",
        "--corruption fog:0.1": "fog",
        "--sparsity kl:2:1": "sparsity",
    }.items():
        assert main(f"fit digits --out m {wrong}".split()) != 0
        assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", ["--output huber(delta=x)", "--output gaussian;bernoulli:0", "--corruption masking"]
)
def test_the_command_says_what_it_cannot_read(wrong, folder, capsys):
    with pytest.raises(SystemExit):
        main(f"fit digits --out m {wrong}".split())
    assert wrong.split()[1].partition(";")[0] in capsys.readouterr().err


def test_the_command_names_columns_and_masks_gaps(folder):
    frame = pd.DataFrame(np.random.default_rng(0).random((60, 3)), columns=["a", "b", "c"])
    frame.iloc[3, 1] = np.nan
    frame.iloc[7, 0] = np.nan
    frame.to_csv("t.csv", index=False)  # empty fields
    argv = "fit t.csv -k 2 --epochs 2 --no-plots --quiet --out m --missing mask"
    argv += " --output exponential:b;gaussian:a,c"
    assert main(argv.split()) == 0
    assert main("fit t.csv -k 2 --epochs 2 --no-plots --quiet --out m".split()) != 0
    assert main("reconstruct m t.csv -o r.npy".split()) == 0
    assert np.isfinite(np.load("r.npy")).all()

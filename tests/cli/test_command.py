"""The command: its arguments, what it does with a model, how it behaves as a process."""

import importlib.metadata
import os
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from support.commands import python_m_aefast, refused

import aefast
from aefast.cli import main
from aefast.tables.readers import read_table

# ---- arguments ----


BAD_VALUES = {
    "NaN": (lambda X: np.where(X == 17, np.nan, X), [], "NaN at row 5, column 2"),
    "infinity": (lambda X: np.where(X == 59, np.inf, X), [], "infinity .*at row 19, column 2"),
    "outside [0, 1]": (
        lambda X: X / 58,
        ["--output", "bernoulli"],
        r"\[0, 1\], got 1.01.* at row 19, column 2",
    ),
    "uint8 without --scale": (lambda X: X.astype(np.uint8), ["--output", "bernoulli"], "--scale"),
    "--scale of floats": (lambda X: X, ["--scale"], "--scale .* expected uint8 data, got float64"),
}


@pytest.mark.parametrize("make, options, match", BAD_VALUES.values(), ids=BAD_VALUES)
def test_bad_values(make, options, match, folder, capsys):
    """Rows and columns are those of the file, held out or not."""
    np.save("X.npy", make(np.arange(60.0).reshape(20, 3)))
    assert re.search(match, refused(capsys, "fit", "X.npy", *options))


BAD_PARAMETERS = {
    "-k": ["0", "-3", str(2**31)],
    "--epochs": ["-1"],
    "--batch-size": ["0"],
    "--learning-rate": ["0", "-1", "nan", "inf"],
    "--momentum": ["1", "-0.1"],
    "--alpha": ["-1", "nan"],
    "--weight-decay": ["-1", "nan"],
    "--clip-norm": ["0", "nan"],
    "--max-norm": ["0", "-1"],
    "--validation-fraction": ["0", "1"],
    "--patience": ["0"],
    "--tol": ["-1"],
    "--seed": ["-1", str(2**32)],
    "--threads": ["0"],
    "--image-shape": ["7x9"],
}


@pytest.mark.parametrize(
    "option, value",
    [(option, value) for option, values in BAD_PARAMETERS.items() for value in values],
)
def test_bad_parameters(option, value, folder, capsys):
    error = refused(
        capsys, "fit", "digits", f"{option}={value}" if option != "-k" else f"-k{value}"
    )
    assert value in error or re.search(r"Got -?[\d.]+|nan|inf", error)
    assert option in error, "explained as the option, not as the estimator's parameter"


@pytest.mark.parametrize(
    "argv, match",
    [
        ("", "required: COMMAND"),
        ("dance", "invalid choice: 'dance'"),
        ("fit", "required: DATA"),
        ("fit digits --activation sine", "invalid choice: 'sine'.*sigmoid.*tanh"),
        ("fit digits --solver newton", "invalid choice: 'newton'.*sgd.*adam.*lbfgs"),
        ("fit digits -k many", "invalid int value: 'many'"),
        ("fit digits --test-fraction 1", r"expected a number in \[0, 1\), got 1"),
        ("fit digits --test-fraction -0.1", r"\[0, 1\)"),
        ("fit digits --test-fraction nan", r"\[0, 1\)"),
        ("fit digits --test-fraction half", "half"),
        ("fit digits --image-shape 8", "expected HxW"),
        ("fit digits --image-shape 8x8x2", "expected HxW"),
        ("fit digits --image-shape axb", "expected HxW"),
        ("fit digits --image-shape -8x-8", "image-shape"),
        ("encode model", "required: DATA"),
        ("encode model digits", "required: -o"),
        ("fit digits --unknown", "usage: aefast fit .*unrecognized arguments: --unknown"),
        ("fit digits --compnents 3", "did you mean --components\\?"),
        ("score m digits --treads=2 --scal", "usage: aefast score .*mean --threads"),
        ("fti digits", "invalid choice: 'fti'; did you mean fit\\?"),
    ],
)
def test_usage_errors(argv, match, capsys):
    with pytest.raises(SystemExit) as exit:
        main(argv.split())
    assert exit.value.code == 2
    assert re.search(match, capsys.readouterr().err, re.DOTALL)


# ---- using a model ----


def test_encode(model, folder):
    assert main(["encode", str(model), "digits", "-o", "codes.npy"]) == 0
    ae = aefast.load(model / "model.safetensors")
    H = np.load("codes.npy")
    assert H.dtype == np.float32
    assert np.array_equal(H, ae.transform((load_digits().data / 16).astype(np.float32)))
    assert os.listdir() == ["codes.npy"]


def test_reconstruct_keeps_the_shape(model, folder):
    argv = [
        "reconstruct",
        str(model / "model.safetensors"),
        "digits",
        "-o",
        "X.npy",
        "--threads",
        "1",
    ]
    assert main(argv) == 0
    X = load_digits().images / 16
    X_hat = np.load("X.npy")
    assert X_hat.shape == X.shape
    assert ((X_hat - X) ** 2).mean() < X.var()


def test_score(model, folder, capsys):
    """The spoilt row has the highest error and the lowest log-likelihood, in exact digits."""
    X = load_digits().data / 16
    X[100] = 1 - X[100]
    np.save("X.npy", X)
    assert main(["score", str(model), "X.npy"]) == 0
    printed = capsys.readouterr().out
    assert main(["score", str(model), "X.npy", "-o", "S.csv"]) == 0
    assert (folder / "S.csv").read_text() == printed
    scores = pd.read_csv("S.csv")
    assert list(scores.columns) == ["reconstruction_error", "log_likelihood"]
    ae = aefast.load(model / "model.safetensors")
    assert np.array_equal(scores["reconstruction_error"], ae.reconstruction_error(X))
    assert np.array_equal(scores["log_likelihood"], ae.score_samples(X))
    assert scores["reconstruction_error"].argmax() == scores["log_likelihood"].argmin() == 100


def test_score_of_float32_is_exact(model, capsys):
    X = read_table("digits").rows
    assert main(["score", str(model), "digits"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    errors = np.array([line.split(",")[0] for line in lines]).astype(np.float32)
    assert np.array_equal(errors, aefast.load(model / "model.safetensors").reconstruction_error(X))


def test_score_help_says_which_is_which(capsys):
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "HIGHER = MORE ANOMALOUS" in text and "lower = more anomalous" in text


def test_columns_are_compared_by_name(folder, capsys):
    X = pd.DataFrame(np.random.default_rng(0).random((20, 3)), columns=["a", "b", "c"])
    X.to_csv("X.csv", index=False)
    X[["b", "a", "c"]].to_csv("swapped.csv", index=False)
    X.to_csv("plain.csv", index=False, header=False)
    assert main("fit X.csv -k 2 --epochs 1 --quiet --no-plots".split()) == 0
    assert list(aefast.load("aefast-model/model.safetensors").feature_names_in_) == ["a", "b", "c"]
    assert main("encode aefast-model X.csv -o named.npy".split()) == 0
    assert main("encode aefast-model plain.csv -o plain.npy".split()) == 0
    assert np.array_equal(np.load("named.npy"), np.load("plain.npy"))
    assert capsys.readouterr().err == "", "no warning about names"
    assert main("encode aefast-model swapped.csv -o swapped.npy".split()) == 0
    assert np.array_equal(np.load("swapped.npy"), np.load("named.npy"))
    X.assign(d=1).to_csv("more.csv", index=False)
    assert main("encode aefast-model more.csv -o more.npy".split()) == 0
    assert "note: more.csv: columns that the model does not know are left out: 'd'" in (
        capsys.readouterr().err
    )
    assert np.array_equal(np.load("more.npy"), np.load("named.npy"))
    X[["a", "c"]].to_csv("less.csv", index=False)
    error = refused(capsys, "encode", "aefast-model", "less.csv", "-o", "H.npy")
    assert "missing: 'b'; it has 'a', 'c'" in error


def test_bad_models_and_data(model, folder, capsys):
    np.save("X.npy", np.ones((4, 5)))
    np.save("outside.npy", np.full((4, 64), 2.0))
    (folder / "truncated").write_bytes((model / "model.safetensors").read_bytes()[:-9])
    (folder / "empty").mkdir()
    cases = {
        (model, "X.npy"): "5 features.*64 features",
        ("nothing", "digits"): "nothing: No such file",
        ("empty", "digits"): "empty/model.safetensors: No such file",
        ("truncated", "digits"): "truncated is not a model file",
        ("X.npy", "digits"): "X.npy is not a model file",
        (model, "nothing.npy"): "nothing.npy: No such file",
        (model, "digits", "--threads", "0"): "n_threads",
        (model, "digits", "--scale"): "--scale",
    }
    for command in ("encode", "reconstruct", "score"):
        for arguments, match in cases.items():
            error = refused(capsys, command, *arguments, "-o", "result.npy")
            assert re.search(match, error), (command, arguments)
    assert re.search(r"\[0, 1\], got 2", refused(capsys, "score", model, "outside.npy"))


def test_unwritable_results(model, folder, capsys, monkeypatch):
    """Found out before anything is computed; a file that is there stays as it was."""
    (folder / "file").write_text("old")
    (folder / "x.npy").mkdir()
    for command, predict in (
        ("encode", "transform"),
        ("reconstruct", "reconstruct"),
        ("score", "score_samples"),
    ):
        monkeypatch.setattr(aefast.Autoencoder, predict, None)
        for out in ("nowhere/result.npy", "file/result.npy", "/proc/result.npy", "x.npy"):
            refused(capsys, command, model, "digits", "-o", out)
    assert (folder / "file").read_text() == "old"


# ---- info, help, processes ----


def test_info_of_the_build(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for name, value in aefast.build_info().items():
        assert re.search(rf"^{name} +\S", out, flags=re.M)
        assert (", ".join(value) if isinstance(value, list) else str(value)) in out


@pytest.mark.parametrize("of", ["folder", "file"])
def test_info_of_a_model(of, model, capsys):
    assert main(["info", str(model if of == "folder" else model / "model.safetensors")]) == 0
    out = capsys.readouterr().out
    ae = aefast.load(model / "model.safetensors")
    for line in (
        r"features +64",
        r"components +8",
        r"weights +tied, float32",
        r"parameters +592",
        r"training +3 epochs, 78 steps, 4,851 rows",
        rf"loss +{ae.loss_curve_[0]:.6g} .*{ae.loss_curve_[-1]:.6g} ",
        r"output +bernoulli",
        r"random_state +0",
    ):
        assert re.search(f"^{line}", out, flags=re.M), line


def test_info_with_names_and_validation(folder, capsys):
    X = pd.DataFrame(np.random.default_rng(0).random((20, 2)), columns=["height", "width"])
    X.to_csv("X.csv", index=False)
    assert (
        main("fit X.csv -k 2 --epochs 2 --early-stopping --untied --quiet --no-plots".split()) == 0
    )
    assert main(["info", "aefast-model"]) == 0
    out = capsys.readouterr().out
    assert "height, width" in out and "validation loss" in out and "untied, float64" in out


@pytest.mark.parametrize("command", ["", "fit", "encode", "reconstruct", "score", "info"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command.split(), "--help"])
    assert exit.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: aefast {command}".rstrip())


def test_version_and_console_script(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"aefast {aefast.__version__}\n"
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="aefast")
    assert script.load() is main


def test_warnings_are_one_line(folder, capsys, monkeypatch):
    real_fit = aefast.Autoencoder.fit

    def fit(self, X, y=None, **options):
        warnings.warn("a warning\nof two lines", stacklevel=2)
        return real_fit(self, X, y, **options)

    monkeypatch.setattr(aefast.Autoencoder, "fit", fit)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main("fit digits --quiet --no-plots --epochs 0 -k 1".split()) == 0
    assert set(capsys.readouterr().err.splitlines()) == {"aefast: warning: a warning of two lines"}


def test_no_traceback_from_a_process(folder):
    process = python_m_aefast("fit", "nothing.csv")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "aefast: error: nothing.csv: No such file or directory\n"


def test_reader_that_leaves(model):
    """`aefast score … | head -1` ends quietly."""
    process = python_m_aefast("score", model, "digits")
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(60), err) == (0, "")

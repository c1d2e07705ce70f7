"""Files of every kind of model that are kept in tests/data, so that later versions must read them.

A file is named KIND-version-N.safetensors. When a format gets a new version, or a kind is added,
run ``python tests/support/kept_files.py`` with the package in the path: it writes the files of the
present versions that are missing, and the numbers that their models give. Never write one again.
"""

import importlib
import json
from pathlib import Path

import numpy as np
from sklearn.utils import get_tags

import aefast
from aefast.model_file import HOMES

DATA = Path(__file__).parents[1] / "data"
RESULTS = DATA / "results.json"  # rows of results, by the name of the file
N_FEATURES = 4
QUICK = {"max_epochs": 2, "random_state": 0}
OPTIONS = {
    "aefast autoencoder": {"n_components": 2, **QUICK},
    "aefast stacked autoencoder": {"layer_sizes": (3, 2), "pretrain_epochs": 1, **QUICK},
    "aefast autoencoder ensemble": {"n_estimators": 2, "n_components": 2, **QUICK},
    "aefast multinomial autoencoder": {"n_components": 2, **QUICK},
    "aefast sufficient statistics": {"n_features": N_FEATURES},
    "aefast dictionary": {"n_components": 3, **QUICK},
    "aefast sparse coder": {"dictionary": np.eye(3, N_FEATURES)},
    "aefast probabilistic pca": {"n_components": 2},
    "aefast factor analysis": {"n_components": 2},
    "aefast mixture of factor analyzers": {"n_components": 1, "random_state": 0},
    "aefast mixture of probabilistic pca": {"n_components": 1, "random_state": 0},
    "aefast imputer": {"method": "ppca", "n_components": 1},
    "aefast anomaly detector": {"n_sets": 2, "n_references": 3, "random_state": 0},
    "aefast autoencoder classifier": {"layer_sizes": (3, 2), "pretrain_epochs": 1, **QUICK},
    "aefast autoencoder regressor": {"layer_sizes": (3, 2), "pretrain_epochs": 1, **QUICK},
    "aefast table autoencoder": {"autoencoder": aefast.Autoencoder(2, **QUICK)},
}


def class_of(file_format):
    module, name = HOMES[file_format]
    return getattr(importlib.import_module(module), name)


def name_of(file_format):
    kind = file_format.removeprefix("aefast ").replace(" ", "-")
    return f"{kind}-version-{class_of(file_format)._file_version}.safetensors"


def rows(n=24):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2)) @ rng.normal(size=(2, N_FEATURES))
    return np.round(np.abs(X + 0.5 * rng.normal(size=X.shape)), 3)


def results_of(model):
    """Return the numbers that a model gives for two rows, as lists."""
    if isinstance(model, aefast.SufficientStatistics):
        return model.covariance().tolist()
    X = rows()[:2]
    if isinstance(model, aefast.Imputer):
        X = X.copy()
        X[0, 1] = np.nan
    found = getattr(model, "transform", None) or model.score_samples
    given = found(X)
    return (given.toarray() if hasattr(given, "toarray") else np.asarray(given)).tolist()


def fitted(file_format):
    model = class_of(file_format)(**OPTIONS.get(file_format, {}))
    if isinstance(model, aefast.SufficientStatistics):
        return model.update(rows())
    X = rows()
    if get_tags(model).target_tags.required:
        return model.fit(X, np.arange(len(X)) % 3)
    return model.fit(X)


def write_missing():
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for file_format in HOMES:
        name = name_of(file_format)
        if not (DATA / name).exists():
            model = fitted(file_format)
            model.save(DATA / name)
            results[name] = results_of(model)
            print(f"{name}: {(DATA / name).stat().st_size} bytes")
    lines = [f"{json.dumps(name)}: {json.dumps(results[name])}" for name in sorted(results)]
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write_missing()

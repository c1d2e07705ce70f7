"""The textbook's networks: the estimators with the parameters that a derivation on paper has.

Tests that compare training with the reference implementation use these: weights begin at random,
codes have no gain, steps have one constant rate.
"""

import aefast

TEXTBOOK = {
    "gain": False,
    "init": "glorot",
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "batch_size": 128,
    "max_epochs": 50,
}


class Textbook:
    """An estimator class with other default parameters; its attributes are the class's."""

    def __init__(self, estimator, **defaults):
        self._estimator, self._defaults = estimator, defaults

    def __call__(self, *arguments, **parameters):
        return self._estimator(*arguments, **(self._defaults | parameters))

    def __getattr__(self, name):
        return getattr(self._estimator, name)


Autoencoder = Textbook(aefast.Autoencoder, **TEXTBOOK)
StackedAutoencoder = Textbook(aefast.StackedAutoencoder, **TEXTBOOK, pretrain_epochs=20)

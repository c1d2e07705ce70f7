"""
A first autoencoder
===================

Digits of 64 pixels go through 24 hidden units and come back. The picture has held-out digits from
the best to the worst reconstruction, with the loss of each in nats.
"""

from sklearn.datasets import load_digits

from aefast import Autoencoder, plotting

X = load_digits().data / 16
train, held_out = X[:1400], X[1400:]
ae = Autoencoder(24, output="bernoulli", random_state=0).fit(train)

figure = plotting.reconstructions(ae, held_out)
plotting.save(figure, "first_autoencoder.png")

"""
A walk among digits
===================

A denoising autoencoder is a generative model: corrupt a row, reconstruct it, draw from p(x), and
again. Each line is a chain that begins with a digit (Bengio et al. 2013).
"""

from sklearn.datasets import load_digits

from aefast import Autoencoder, plotting

X = (load_digits().data > 7).astype("float32")
ae = Autoencoder(
    128, output="bernoulli", corruption=("salt_and_pepper", 0.4), max_epochs=150, random_state=0
).fit(X)

start = X[:6]
chain = ae.walk_back(start, 12, random_state=0)
figure = plotting.walk(ae, start, chain)
plotting.save(figure, "walk_of_digits.png")

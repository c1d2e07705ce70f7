"""
What hidden units look at
=========================

Each patch of photographs may be described by 5 of 100 units (k-sparse, Makhzani & Frey 2013). The
units become edges of all places and directions, as the atoms of sparse coding do, though a code
costs no more than a product with a matrix. Each image has the weights of one unit.
"""

from sklearn.datasets import load_sample_image

from aefast import Autoencoder, Whitening, extract_patches, plotting

images = [load_sample_image(name).mean(axis=2) / 255 for name in ("china.jpg", "flower.jpg")]
patches = extract_patches(images, 12, 15_000, random_state=0)
patches -= patches.mean(axis=1, keepdims=True)
X = Whitening(epsilon=3e-2).fit_transform(patches).astype("float32")
X /= X.std()

ae = Autoencoder(
    100,
    activation="linear",
    top_k=5,
    scale=None,
    learning_rate=1e-3,
    learning_rate_schedule="cosine",
    max_epochs=25,
    random_state=0,
).fit(X)
figure = plotting.filters(ae, (12, 12))
plotting.save(figure, "filters_of_patches.png")

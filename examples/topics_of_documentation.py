"""
Topics of documentation
=======================

The documents are the docstrings of four packages of SciPy. A multinomial autoencoder describes how
their words are drawn; the words with the largest weights of a unit are its topic.
"""

import inspect

import numpy as np
from scipy import linalg, optimize, signal, stats
from sklearn.feature_extraction.text import CountVectorizer

from aefast import Autoencoder, plotting

texts = []
for package in (linalg, optimize, signal, stats):
    documents = (inspect.getdoc(getattr(package, name)) or "" for name in dir(package))
    texts += [text for text in documents if len(text) > 300]

vectorizer = CountVectorizer(min_df=10, max_df=0.5, stop_words="english", token_pattern="[a-z]{3,}")
counts = vectorizer.fit_transform(texts).astype(np.float32)
counts.data = np.minimum(counts.data, 5)  # a word that comes more often says no more

topics = Autoencoder(
    8,
    output="multinomial",
    row_norm="l2",
    alpha=0.1,
    sparsity=("kl", 0.15, 30.0),
    max_epochs=80,
    random_state=0,
).fit(counts)
figure = plotting.words(topics, vectorizer.get_feature_names_out(), n=9)
plotting.save(figure, "topics_of_documentation.png")

"""Autoencoders, plain and stacked: estimators, networks, one-pass operations, training."""

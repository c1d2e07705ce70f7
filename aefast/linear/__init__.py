"""Linear models from sufficient statistics: factor models, whitening, closed-form autoencoders."""

"""Linear models fitted from sufficient statistics: factor models, whitening, closed-form
autoencoders.
"""

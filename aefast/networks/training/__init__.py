"""Training of networks: fits, mini-batches, L-BFGS, hyperparameters, schedules."""

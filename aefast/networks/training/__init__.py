"""How networks are trained: epochs, mini-batches, L-BFGS, schedules."""

"""What all families of models stand on. Nothing here imports a family."""

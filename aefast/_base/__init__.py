"""Common base of all families of models; nothing in it imports a family."""

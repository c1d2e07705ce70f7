"""Tables of mixed columns: frames in and out, roles of columns, matrices for the models."""

"""Tables: files, frames of mixed columns, roles of columns, matrices for the models."""

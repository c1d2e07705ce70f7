"""Exchange with other libraries and languages: PyTorch, ONNX, C.

A fitted model is described once, as arrays and names (`feed_forward`); each module turns that
description into another form, and imports the library that it serves only when it is imported
itself. Estimators find these modules through `aefast._base.exchange`, by name.
"""

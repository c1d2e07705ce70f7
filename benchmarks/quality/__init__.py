"""What fits without arguments learn, beside their rivals: ``python -m benchmarks.quality``.

`tables` has the data, `rivals` the methods, `measures` what is compared (a table each), `curves`
the loss over seconds, and `report` the Markdown and the picture.
"""

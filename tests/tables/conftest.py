"""Tables of each library."""

import pytest
from support.mixed_frames import in_library, mixed_frame


@pytest.fixture(params=["pandas", "polars", "pyarrow"])
def table(request):
    return in_library(mixed_frame(), request.param)

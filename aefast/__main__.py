"""Entry point of ``python -m aefast``, which is the command `aefast`."""

import sys

from aefast.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""Run the command line with `python -m cnnvis_lab.lab.cli`."""

import sys

from . import main

if __name__ == "__main__":  # worker processes import this module, too
    sys.exit(main())

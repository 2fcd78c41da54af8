"""`python -m oche`: the command."""

import sys

from oche.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m syncws``: see `_cli.serve`."""

import sys

from ._cli.serve import main

if __name__ == "__main__":
    sys.exit(main())

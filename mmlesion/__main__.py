"""``python -m mmlesion``: the console command."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main())

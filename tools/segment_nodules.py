"""Program for the subcommand ``segment-nodules`` of ``mmlesion``."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main(command='segment-nodules'))

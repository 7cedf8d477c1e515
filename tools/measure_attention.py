"""Program of the subcommand ``measure-attention`` of the command ``mmlesion``."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main(command='measure-attention'))

"""Program for the subcommand ``audit-nodules`` of the console command ``mmlesion``."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main(command='audit-nodules'))

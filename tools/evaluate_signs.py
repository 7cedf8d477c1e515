"""Program for the subcommand ``evaluate-signs`` of the console command ``mmlesion``."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main(command='evaluate-signs'))

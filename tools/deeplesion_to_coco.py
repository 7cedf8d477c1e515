"""Program for the subcommand ``deeplesion-to-coco``."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main(command='deeplesion-to-coco'))

"""Program for the subcommand ``coco-to-deeplesion``."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main(command='coco-to-deeplesion'))

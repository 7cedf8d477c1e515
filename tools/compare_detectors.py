"""Program of the subcommand ``compare-detectors`` of the command ``mmlesion``."""

import sys

from mmlesion.cli import main

if __name__ == '__main__':
    sys.exit(main(command='compare-detectors'))

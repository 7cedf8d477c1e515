"""The console command ``mmlesion``; its subcommands are the programs in ``tools/``.

Each module of this package implements one subcommand: ``add_arguments`` declares its
command line, ``run`` calls the package. Heavy libraries are imported in ``run``, so
that ``--help`` is quick.
"""

from .main import COMMANDS, main

__all__ = ['COMMANDS', 'main']

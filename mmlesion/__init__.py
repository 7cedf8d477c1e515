"""Lesion detection in CT, and maps that explain predictions of networks.

Importing this package loads no other modules. OpenMMLab finds the components through
:mod:`mmlesion.registry` when a config names ``mmlesion.X``.
"""

from .version import __version__

__all__ = ['__version__']

"""Lesion detection in CT, and maps that show why a network said so.

Importing this package costs nothing: OpenMMLab finds the components through
:mod:`mmlesion.registry` when a config names ``mmlesion.X``.
"""

from .version import __version__

__all__ = ['__version__']

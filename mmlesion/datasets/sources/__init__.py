"""Readers of the formats in which public data sets are published.

DeepLesion's csv, the XML of LIDC-IDRI's readers with the consensus of their outlines,
trees of LIDC-IDRI series, and nodule crops with masks.
"""

"""Readers of the formats in which public data sets are published.

They read DeepLesion's csv file, the XML files of LIDC-IDRI with the consensus of the
outlines, folder trees of LIDC-IDRI series, and nodule crops with masks.
"""

"""Tables of prepared data sets, and the division of their patients.

A module of a table contains its row type, its file names, its writer and its reader.
"""

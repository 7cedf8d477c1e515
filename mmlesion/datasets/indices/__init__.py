"""Tables that mmlesion writes when it prepares a data set and reads for training.

Each module contains one table: its row type, its file names, its writer and its reader.
"""

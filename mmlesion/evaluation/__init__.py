"""Evaluation: metrics of arrays in ``functional``, MMEngine metrics in ``metrics``."""

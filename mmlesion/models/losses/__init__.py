"""Losses."""

from .reader_rating_loss import ReaderRatingLoss

__all__ = ['ReaderRatingLoss']

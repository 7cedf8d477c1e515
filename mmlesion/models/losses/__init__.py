"""Losses."""

from .map_equivariance_loss import MapEquivarianceLoss
from .reader_rating_loss import ReaderRatingLoss

__all__ = ['MapEquivarianceLoss', 'ReaderRatingLoss']

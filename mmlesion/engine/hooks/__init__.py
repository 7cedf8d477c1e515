"""Hooks of trainings and tests."""
from .epoch_seed_hook import EpochSeedHook
from .non_finite_loss_hook import NonFiniteLossHook

__all__ = ['EpochSeedHook', 'NonFiniteLossHook']

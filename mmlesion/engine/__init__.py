"""Runner, hooks and safe checkpoint reading for training and testing."""

from . import checkpoint_schemes  # noqa: F401  (MMEngine reads checkpoints safely)

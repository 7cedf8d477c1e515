"""Training and testing: the runner, its hooks and the reading of checkpoints."""

from . import checkpoint_schemes  # noqa: F401  (MMEngine reads checkpoints safely)

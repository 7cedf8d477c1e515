"""Loading of weights that match a model in part, such as those of a COCO detector."""

from collections.abc import Mapping, Sequence
from logging import Logger

from mmengine.logging import print_log
from torch import Tensor, nn


def load_partially(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    filename: str,
    logger: Logger | str | None = 'current',
) -> None:
    """Load all weights that match by name and shape, and report the others.

    Modules that wrap a stock module, such as :class:`mmlesion.SliceBackbone`, rename
    the keys of stock weights themselves.

    Args:
        model: The model.
        state_dict: The weights.
        filename: Name of the checkpoint in the report.
        logger: Logger of the report.

    Raises:
        ValueError: If fewer than half of the weights match.
    """
    missing: list[str] = []
    unexpected: list[str] = []
    mismatches: list[str] = []
    metadata = getattr(state_dict, '_metadata', None) or {}

    def load(module: nn.Module, weights: dict[str, Tensor], prefix: str) -> None:
        module._load_from_state_dict(
            weights,
            prefix,
            metadata.get(prefix[:-1], {}),
            True,
            missing,
            unexpected,
            mismatches,
        )
        for name, child in module._modules.items():
            if child is not None:
                inner = f'{prefix}{name}.'
                own = {k: v for k, v in weights.items() if k.startswith(inner)}
                load(child, own, inner)

    load(model, dict(state_dict), '')
    mismatches = [message.split(':')[0].split()[-1] for message in mismatches]
    known = {key for key in model.state_dict()}
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    num_fitting = len(state_dict) - len(unexpected) - len(mismatches)
    report = (
        f'{num_fitting} of its {len(state_dict)} tensors fit the model, which has '
        f'{len(known)}'
        + _listed('of another shape', mismatches)
        + _listed('not in the model', unexpected)
        + _listed('not in the checkpoint', missing)
    )
    if 2 * num_fitting < len(state_dict):
        raise ValueError(
            f'Checkpoint {filename} belongs to another architecture: {report}.'
        )
    print_log(f'Checkpoint {filename}: {report}.', logger)


def _listed(what: str, keys: Sequence[str], limit: int = 8) -> str:
    """Return ``; 3 what (a, b, c)``, or nothing without keys."""
    if not keys:
        return ''
    names = ', '.join(keys[:limit]) + (', ...' if len(keys) > limit else '')
    return f'; {len(keys)} {what} ({names})'

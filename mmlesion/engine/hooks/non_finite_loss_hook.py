"""A loss that is no number stops the training and names the samples."""

import torch
from mmengine.hooks import Hook

from mmlesion.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop the training when a loss is NaN or infinite, naming the samples.

    MMEngine's ``train_step`` has updated the weights by the time any hook sees
    the loss, so they are spoilt; but this hook runs before those that write
    logs and checkpoints, and the last checkpoint on disk stays good. Of the
    batch's samples, those whose pixels or boxes are not finite are named as
    the cause; if there are none, all of the batch are named.

    With dynamic loss scaling, infinite *gradients* are ordinary (that step is
    skipped) and not looked at here. The losses reported are those before
    scaling, in which NaN or infinity is never ordinary.
    """

    # Before RuntimeInfoHook, LoggerHook and CheckpointHook.
    priority = 'HIGHEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Look at the losses of an iteration.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Index of the batch in its epoch.
            data_batch (dict, optional): As the data loader gave it.
            outputs (dict, optional): Name to value of each loss.

        Raises:
            FloatingPointError: A loss is NaN or infinite.
        """
        bad = {
            name: torch.as_tensor(value).tolist()
            for name, value in (outputs or {}).items()
            if not torch.isfinite(torch.as_tensor(value)).all()
        }
        if not bad:
            return
        losses = ', '.join(f'{name} = {value}' for name, value in bad.items())
        raise FloatingPointError(
            f'Training stopped in epoch {runner.epoch + 1}, iteration '
            f'{batch_idx + 1}, because {losses}: {_describe(data_batch)}.'
        )


def _describe(data_batch):
    if not isinstance(data_batch, dict) or 'data_samples' not in data_batch:
        return 'the batch does not name its samples'
    samples = data_batch['data_samples']
    names = [str(sample.get('img_path') or sample.get('img_id')) for sample in samples]
    inputs = data_batch.get('inputs', [None] * len(names))
    blamed = []
    for name, pixels, sample in zip(names, inputs, samples):
        if pixels is not None and not torch.isfinite(pixels.float()).all():
            blamed.append(f'pixels of {name} are not finite')
        elif not _finite_boxes(sample):
            blamed.append(f'boxes of {name} are not finite')
    if blamed:
        return ', '.join(blamed)
    return f'the batch was {", ".join(names)}'


def _finite_boxes(sample):
    boxes = getattr(sample.get('gt_instances'), 'bboxes', None)
    if boxes is None:
        return True
    boxes = getattr(boxes, 'tensor', boxes)  # mmdet's box objects wrap one
    return bool(torch.isfinite(boxes).all())

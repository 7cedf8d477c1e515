"""Figures 2 and 3 of Tao et al. for chosen samples of a test."""

from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmlesion.ct import FULL_WINDOW_HU
from mmlesion.explain.names import sample_name
from mmlesion.registry import HOOKS
from mmlesion.visualization import draw_contextual_attention, draw_spatial_attention


@HOOKS.register_module()
class AttentionFigureHook(Hook):
    """Draw the contextual and the spatial attention of test samples.

    For each lesion of a chosen sample ``<name>_lesion<k>_contextual.png``
    (:func:`draw_contextual_attention`), and for the sample
    ``<name>_spatial.png`` (:func:`draw_spatial_attention`, outlined is its
    first lesion). The slices shown are those that the network saw.

    Args:
        out_dir (str): Folder of the figures.
        images (int or Sequence[str]): The first so many samples with lesions,
            or names as in DeepLesion's csv, ``000001_01_01_109`` or with
            ``.png``.
        window (Sequence[float]): HU window of the config's ``WindowHU``, by
            which its grey values are turned back to HU.
        out_range (Sequence[float]): Its range of grey values.
    """

    def __init__(self, out_dir, images=3, window=FULL_WINDOW_HU, out_range=(0, 255)):
        self.out_dir = Path(out_dir)
        self.window = window
        self.out_range = out_range
        # Of several processes, each with its share of the samples, the first
        # one draws the first samples, and each draws the named ones it meets.
        self.first = images if isinstance(images, int) and is_main_process() else 0
        self.wanted = (
            set()
            if isinstance(images, int)
            else {Path(name).name.removesuffix('.png') for name in images}
        )

    def before_test(self, runner):
        """Make sure that there is attention to draw.

        Args:
            runner (Runner): The runner of the test.

        Raises:
            ValueError: The model has no attention.
        """
        model = _bare(runner.model)
        if not hasattr(model, 'attention_maps'):
            raise ValueError(_no_attention(model))

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw those of the batch's samples that were chosen.

        Args:
            runner (Runner): The runner of the test.
            batch_idx (int): Index of the batch.
            data_batch (dict, optional): As the data loader gave it.
            outputs (list[DetDataSample], optional): Not used.
        """
        for inputs, sample in zip(data_batch['inputs'], data_batch['data_samples']):
            boxes = _network_boxes(sample)
            name = sample_name(sample)
            if name in self.wanted:
                self.wanted.discard(name)
            elif self.first > 0 and len(boxes):
                self.first -= 1
            else:
                continue
            self._draw(_bare(runner.model), inputs, sample, boxes, name)

    def after_test(self, runner):
        """Say which of the named samples the test did not hold.

        Args:
            runner (Runner): The runner of the test.
        """
        unseen = set.intersection(*all_gather_object(self.wanted))
        if unseen:
            runner.logger.warning(
                'No attention was drawn for %s: not in this test set.',
                ', '.join(sorted(unseen)),
            )

    def _draw(self, model, inputs, sample, boxes, name):
        batch = model.data_preprocessor(
            dict(inputs=[inputs], data_samples=[sample]), False
        )
        maps = model.attention_maps(batch['inputs'], batch['data_samples'])
        if maps['contextual'] is None and maps['spatial'] is None:
            raise ValueError(_no_attention(model))
        # Middle slice of each triple, padded as the features were: (M, H, W)
        padded_shape = batch['inputs'].shape[-2:]
        slices = inputs[1::3].float().cpu().numpy()
        slices_hu = np.pad(
            self._to_hu(slices),
            (
                (0, 0),
                *(
                    (0, full - size)
                    for full, size in zip(padded_shape, slices.shape[1:])
                ),
            ),
            constant_values=self.window[0],
        )
        if maps['contextual'] is not None:
            weights = maps['contextual'][0].float().cpu().numpy()
            for index, box in enumerate(boxes):
                draw_contextual_attention(
                    weights,
                    slices_hu,
                    box,
                    self.out_dir / f'{name}_lesion{index + 1}_contextual.png',
                    name,
                )
        if maps['spatial'] is not None:
            draw_spatial_attention(
                maps['spatial'][0].float().cpu().numpy(),
                slices_hu,
                boxes[0] if len(boxes) else None,
                self.out_dir / f'{name}_spatial.png',
                name,
            )

    def _to_hu(self, grey):
        (low, high), (out_low, out_high) = self.window, self.out_range
        return (grey - out_low) / (out_high - out_low) * (high - low) + low


def _bare(model):
    return model.module if is_model_wrapper(model) else model


def _no_attention(model):
    return (
        f'{type(model).__name__} has no attention to draw: a ContextRCNN '
        'with a ContextNeck was expected.'
    )


def _network_boxes(sample):
    """Lesions in the pixels of the network's input, (K, 4)."""
    boxes = np.array(
        [instance['bbox'] for instance in sample.get('instances', [])], float
    ).reshape(-1, 4)
    return boxes * np.tile(np.asarray(sample.get('scale_factor', (1, 1)), float), 2)

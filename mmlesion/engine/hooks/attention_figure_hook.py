"""Hook that draws Figures 2 and 3 of Tao et al. for selected test samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmlesion.ct import FULL_WINDOW_HU
from mmlesion.explain.names import sample_name
from mmlesion.registry import HOOKS
from mmlesion.visualization import draw_contextual_attention, draw_spatial_attention


@HOOKS.register_module()
class AttentionFigureHook(Hook):
    """Draw the contextual and the spatial attention of test samples.

    The hook writes ``<name>_lesion<k>_contextual.png`` for each lesion of a selected
    sample (:func:`draw_contextual_attention`), and ``<name>_spatial.png`` for the
    sample (:func:`draw_spatial_attention`, with an outline of the first lesion). The
    figures show the slices of the network input. With test-time augmentation, they show
    the first variant that is not flipped.

    Args:
        out_dir: Folder of the figures.
        images: Number of samples with lesions, taken from the start of the test, or
            names of samples as in DeepLesion's csv (``000001_01_01_109``, with or
            without ``.png``).
        window: HU window of ``WindowHU`` in the config, which converts gray values
            back to HU. It is not used if the data preprocessor applies the windows.
        out_range: Range of gray values of ``WindowHU`` in the config.
    """

    def __init__(
        self,
        out_dir: str | Path,
        images: int | Sequence[str] = 3,
        window: Sequence[float] = FULL_WINDOW_HU,
        out_range: Sequence[float] = (0, 255),
    ) -> None:
        self.out_dir = Path(out_dir)
        self.window = window
        self.out_range = out_range
        # Each process has a subset of the samples. The main process draws the first
        # samples of its subset. Every process draws the selected names in its subset.
        self.first = images if isinstance(images, int) and is_main_process() else 0
        names = () if isinstance(images, int) else images
        self.wanted = {Path(name).name.removesuffix('.png') for name in names}

    def before_test(self, runner: Runner) -> None:
        """Check that the model has attention.

        Args:
            runner: The runner of the test.

        Raises:
            ValueError: If the model has no attention.
        """
        model = _unwrap(runner.model)
        if not hasattr(model, 'attention_maps'):
            raise ValueError(_no_attention(model))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Draw the selected samples of a batch.

        Args:
            runner: The runner of the test.
            batch_idx: Index of the batch.
            data_batch: The batch of the data loader.
            outputs: Not used.
        """
        for inputs, sample in _unflipped(data_batch):
            boxes = _network_boxes(sample)
            name = sample_name(sample)
            if name in self.wanted:
                self.wanted.discard(name)
            elif self.first > 0 and len(boxes):
                self.first -= 1
            else:
                continue
            self._draw(_unwrap(runner.model), inputs, sample, boxes, name)

    def after_test(self, runner: Runner) -> None:
        """Warn of selected samples that are not in the test data.

        Args:
            runner: The runner of the test.
        """
        unseen = set.intersection(*all_gather_object(self.wanted))
        if unseen:
            runner.logger.warning(
                'No attention was drawn for %s: not in this test set.',
                ', '.join(sorted(unseen)),
            )

    def _draw(
        self, model: Any, inputs: Tensor, sample: Any, boxes: np.ndarray, name: str
    ) -> None:
        batch = model.data_preprocessor(
            dict(inputs=[inputs], data_samples=[sample]), False
        )
        maps = model.attention_maps(batch['inputs'], batch['data_samples'])
        if maps['contextual'] is None and maps['spatial'] is None:
            raise ValueError(_no_attention(model))
        # Middle slice of each image, padded as the features were: (M, H, W)
        padded_shape = batch['inputs'].shape[-2:]
        slices = _middle_slices(model, inputs).float().cpu().numpy()
        if not getattr(model.data_preprocessor, 'windows', None):
            slices = self._to_hu(slices)
        slices_hu = np.pad(
            slices,
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

    def _to_hu(self, gray: np.ndarray) -> np.ndarray:
        (low, high), (out_low, out_high) = self.window, self.out_range
        return (gray - out_low) / (out_high - out_low) * (high - low) + low


def _middle_slices(model: Any, inputs: Tensor) -> Tensor:
    """Return the middle slice of each image of a stack, (M, H, W)."""
    backbone = getattr(model, 'backbone', None)
    size = getattr(backbone, 'slices_per_image', 3)
    stride = getattr(backbone, 'stride', size)
    return inputs.unfold(0, size, stride)[..., size // 2]


def _unflipped(data_batch: Any) -> list[tuple[Tensor, Any]]:
    """Return pairs of input and sample, of one variant if the data are augmented."""
    inputs, samples = data_batch['inputs'], data_batch['data_samples']
    if isinstance(samples[0], (list, tuple)):
        # Test-time augmentation: one batch for each variant.
        for inputs_of_variant, variant in zip(inputs, samples):
            if not any(sample.get('flip') for sample in variant):
                return list(zip(inputs_of_variant, variant))
        return []
    return list(zip(inputs, samples))


def _unwrap(model: Any) -> Any:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _no_attention(model: nn.Module) -> str:
    return (
        f'{type(model).__name__} has no attention to draw: a ContextRCNN '
        'with a ContextNeck was expected.'
    )


def _network_boxes(sample: Any) -> np.ndarray:
    """Return the boxes of the lesions in pixels of the network input, (K, 4)."""
    boxes = np.array(
        [instance['bbox'] for instance in sample.get('instances', [])], float
    ).reshape(-1, 4)
    return boxes * np.tile(np.asarray(sample.get('scale_factor', (1, 1)), float), 2)

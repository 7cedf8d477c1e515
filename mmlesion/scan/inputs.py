"""Network inputs of a whole scan from the test pipeline of a config."""

from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmlesion.ct import CTVolume, body_box
from mmlesion.registry import type_name

from .key_slices import Channel, KeySlices, SliceReader

LOADER = 'LoadSliceStack'
CROP = 'CropToBody'


class ScanPipeline:
    """Test pipeline of a detection config, applied to slices of a scan.

    The first transform reads a key slice and its neighbors from files and is replaced
    by slices of the scan. All other transforms, such as window, crop and pixel size,
    are those of the config.

    Args:
        cfg: Config with a ``test_dataloader`` whose pipeline begins with
            ``LoadSliceStack``.

    Raises:
        ValueError: If the pipeline begins with a different transform.
    """

    def __init__(self, cfg: Config) -> None:
        try:
            steps = cfg.test_dataloader.dataset.pipeline
        except AttributeError:
            raise ValueError(
                f'{cfg.filename}: expected a test_dataloader whose dataset has a '
                'pipeline'
            ) from None
        if not steps or type_name(steps[0]) != LOADER:
            found = type_name(steps[0]) if steps else 'nothing'
            raise ValueError(
                f'{cfg.filename}: detection in whole scans needs a test pipeline '
                f'that begins with {LOADER}, but it begins with {found}'
            )
        self.steps = [dict(step) for step in steps]
        self.loader = TRANSFORMS.build(steps[0])
        self.rest = Compose(steps[1:])
        self.crop = next(
            (t for t in self.rest.transforms if type(t).__name__ == CROP), None
        )

    def body_box(self, slice_hu: np.ndarray) -> tuple[int, int, int, int] | None:
        """Compute the body box of a slice with the settings of the config.

        Returns:
            (x0, y0, x1, y1), the end exclusive. None if the config does not crop or no
            body was found.
        """
        if self.crop is None:
            return None
        box = body_box(slice_hu, self.crop.threshold_hu, self.crop.kernel_size)
        height, width = slice_hu.shape
        # body_box returns the whole slice if no body is found
        if box == (0, 0, width, height) and slice_hu.max() <= self.crop.threshold_hu:
            return None
        return box

    def run(
        self,
        planes: np.ndarray,
        key_slice_hu: np.ndarray,
        volume: CTVolume,
        crop_box: tuple[int, int, int, int] | None,
    ) -> dict[str, Any]:
        """Run the pipeline behind the loader.

        Args:
            planes: Channels in HU.
            key_slice_hu: Slice that determines the body crop.
            volume: The scan, for its spacing.
            crop_box: Box to crop to instead of the body in ``key_slice_hu``.

        Shape:
            - planes: (C, H, W).

        Returns:
            The packed sample: ``inputs`` and ``data_samples``.
        """
        shape = planes.shape[1:]
        results: dict[str, Any] = dict(
            img=planes.transpose(1, 2, 0),  # (H, W, C), memory by channel
            img_shape=shape,
            ori_shape=shape,
            height=shape[0],
            width=shape[1],
            key_slice_hu=key_slice_hu,
            spacing_mm=volume.spacing_mm[1],
            interval_mm=volume.spacing_mm[0],
            img_path='',
            img_id=0,
            instances=[],
        )
        if crop_box is not None:
            results['crop_box'] = crop_box
        packed: Any = self.rest(results)
        if packed is None:
            raise ValueError('the test pipeline dropped a slice of the scan')
        return packed


class ScanInputs:
    """Inputs of the key slices of one scan.

    Args:
        pipeline: Test pipeline.
        volume: The scan with square pixels.
        keys: Key slices.
        crop_box: Box of the scan to crop to; None crops each key slice to its own
            body.
    """

    def __init__(
        self,
        pipeline: ScanPipeline,
        volume: CTVolume,
        keys: KeySlices,
        crop_box: tuple[int, int, int, int] | None,
    ) -> None:
        self.pipeline = pipeline
        self.volume = volume
        self.keys = keys
        self.crop_box = crop_box
        self._reader = SliceReader(volume.array)

    def stack(self, number: int) -> dict[str, Any]:
        """Return the packed sample of a key slice with all channels of its stack."""
        planes = self._reader.stack(self.keys.stack_channels(number))
        key_slice_hu = self._reader.read(self.keys.position(number))
        return self.pipeline.run(planes, key_slice_hu, self.volume, self.crop_box)

    def images(self, numbers: list[int]) -> tuple[list[Tensor], BaseDataElement]:
        """Return single images of several stacks.

        Args:
            numbers: Grid numbers of the images.

        Returns:
            A tensor (windows * slices_per_image, h, w) for each image, and a data
            sample with the meta information that all images share.
        """
        per_image = [self.keys.image_channels(number) for number in numbers]
        places: dict[Channel, int] = {}
        for channels in per_image:
            for channel in channels:
                places.setdefault(channel, len(places))
        planes = self._reader.stack(list(places))
        packed = self.pipeline.run(planes, planes[0], self.volume, self.crop_box)
        # Transforms may add a channel per window; the channels of a window are
        # consecutive
        inputs = packed['inputs'].unflatten(0, (-1, len(places)))  # (K, C, h, w)
        images = [
            inputs[:, [places[channel] for channel in channels]].flatten(0, 1)
            for channels in per_image
        ]
        return images, packed['data_samples']


def scan_body_box(
    pipeline: ScanPipeline, volume: CTVolume, keys: KeySlices
) -> tuple[int, int, int, int] | None:
    """Return the smallest box that contains the body of every key slice.

    A key slice between two slices of the scan is represented by the lower slice index.

    Returns:
        (x0, y0, x1, y1), the end exclusive. None if the config does not crop or no
        slice contains a body.
    """
    indices = sorted({int(keys.position(number)) for number in keys.numbers()})
    boxes = [pipeline.body_box(volume.array[index]) for index in indices]
    found = np.array([box for box in boxes if box is not None])
    if not len(found):
        return None
    x0, y0 = found[:, :2].min(0).tolist()
    x1, y1 = found[:, 2:].max(0).tolist()
    return x0, y0, x1, y1


def pack(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Collate packed samples to one batch for a data preprocessor."""
    return dict(
        inputs=[sample['inputs'] for sample in samples],
        data_samples=[sample['data_samples'] for sample in samples],
    )

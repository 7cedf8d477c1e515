"""Output files of the maps of one sample: figures, arrays, volumes and JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmlesion import attribution
from mmlesion.ct import write_volume
from mmlesion.files import atomic_file, write_json
from mmlesion.visualization import write_picture
from mmlesion.visualization.map_overlay import overlay_rows, slice_bars

from .placement import map_on_input, map_volume

#: Output formats of :func:`write_sample_maps`.
MAP_FORMATS = ('png', 'npy', 'nii.gz', 'json')


@dataclass
class SampleMaps:
    """Maps of one sample by one or more methods, for K classes or boxes.

    Attributes:
        maps: Raw maps by title (the method, and the layer if there are several).
        titles: Name and score of each class or box.
        explained: Description of each class or box, for JSON.
        layers: Names of the target layers.
        input_size: Rows and columns of the network input, including padding (or
            depth, rows and columns).
        boxes_px: Explained boxes in pixels of the network input; None for classes.
        slice_shares: Contribution of each slice of the input to each score.
        channel: Channel of the packed image that is drawn; None for the middle
            channel.

    Shape:
        - maps: (K, \\*grid), or (K, M, \\*grid) for a layer that processes M slices
        - boxes_px: (K, 4), xyxy
        - slice_shares: (K, slices)
    """

    maps: Mapping[str, Tensor]
    titles: Sequence[str]
    input_size: Sequence[int]
    explained: Sequence[dict] = ()
    layers: Sequence[str] = field(default_factory=list)
    boxes_px: np.ndarray | None = None
    slice_shares: Tensor | None = None
    channel: int | None = None

    def empty_maps(self) -> list[list[str]]:
        """Return the titles of the maps that are zero everywhere, per class or box."""
        return [
            [title for title, raw in self.maps.items() if not raw[index].any()]
            for index in range(len(self.titles))
        ]


def split_by_target(raw: Tensor) -> Tensor:
    """Move the targets of one sample's maps to the front.

    Shape:
        - raw: (M, K, \\*grid)
        - output: (K, \\*grid) if M is 1, else (K, M, \\*grid)
    """
    maps = raw.transpose(0, 1)
    return maps[:, 0] if len(raw) == 1 else maps


def by_title(method: str, raw: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name maps by the method, and by the layer if there are several."""
    if not isinstance(raw, Mapping):
        return {method: raw}
    return {f'{method} {layer}': maps for layer, maps in raw.items()}


def write_sample_maps(
    folder: str | Path,
    name: str,
    image: Tensor,
    sample: Any,
    found: SampleMaps,
    *,
    formats: Sequence[str] = MAP_FORMATS,
    window: Sequence[float] | None = None,
    to_hu: Callable[[Tensor], Tensor] | None = None,
    value_range: Sequence[float] | None = None,
) -> dict:
    """Write the maps of one sample. Existing files are replaced.

    - ``<name>.png``: one row per class or box: the image, and one overlay per map
      with the map's smallest and largest value as its title;
    - ``<name>_<title>.npy``: raw float32 maps on the grid of the layer;
    - ``<name>_<title>.nii.gz``: the largest map at each pixel of the image, in the
      position of the scan if it is known;
    - ``<name>.json``: the classes or boxes, layers and methods, which maps are zero
      everywhere, and the contribution of each slice if it was measured.

    Args:
        folder: Output folder; created if needed.
        name: Name of the sample.
        image: The packed input image.
        sample: Data sample, which may have ``spacing_mm``, ``crop_offset``,
            ``scale_factor`` and ``scan_geometry``.
        found: The maps.
        formats: Output formats from :data:`MAP_FORMATS`.
        window: HU of black and white in the figure.
        to_hu: Function from gray values of the network input to HU, for ``window``.
        value_range: Raw values at the two ends of the colors. By default, each map
            has its own range.

    Shape:
        - image: (C, H, W) or (C, D, H, W)

    Returns:
        The content of the JSON file.

    Raises:
        OSError: If a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    size = image.shape[1:]
    files = {title: f'{name}_{title.replace(" ", "_")}' for title in found.maps}
    full = {
        title: map_on_input(raw, size, found.input_size)
        for title, raw in found.maps.items()
    }
    for title, raw in found.maps.items():
        if 'npy' in formats:
            with atomic_file(folder / f'{files[title]}.npy') as file:
                np.save(file, raw.cpu().numpy())
        if 'nii.gz' in formats:
            largest = full[title].amax(0).cpu().numpy()
            write_volume(folder / f'{files[title]}.nii.gz', map_volume(largest, sample))
    if 'png' in formats:
        picture = draw_sample_maps(
            image, found, full, window=window, to_hu=to_hu, value_range=value_range
        )
        write_picture(folder / f'{name}.png', picture)
    explained = [dict(each) for each in found.explained]
    for index, (each, empty) in enumerate(zip(explained, found.empty_maps())):
        if empty:
            each['empty_maps'] = empty
        if found.slice_shares is not None:
            each['slice_shares'] = found.slice_shares[index].tolist()
    report = dict(
        name=name,
        image=str(sample.get('img_path')),
        layers=list(found.layers),
        explained=explained,
        maps={title: f'{file}.npy' for title, file in files.items()},
    )
    if 'json' in formats:
        write_json(folder / f'{name}.json', report, indent=1)
    return report


def draw_sample_maps(
    image: Tensor,
    found: SampleMaps,
    full: Mapping[str, Tensor] | None = None,
    *,
    window: Sequence[float] | None = None,
    to_hu: Callable[[Tensor], Tensor] | None = None,
    value_range: Sequence[float] | None = None,
) -> np.ndarray:
    """Draw one row per class or box: the image and an overlay of each map.

    Args:
        image: The packed input image. ``found.channel``
            (or the middle slice of a volume) is drawn.
        found: The maps.
        full: The maps at the size of the image, if available.
        window: HU of black and white in the figure.
        to_hu: Function from gray values of the network input to HU, for ``window``.
        value_range: Raw values at the two ends of the colors.

    Shape:
        - image: (C, H, W) or (C, D, H, W)
        - output: (rows, columns, 3), RGB

    Returns:
        The figure, uint8.
    """
    if full is None:
        full = {
            title: map_on_input(raw, image.shape[1:], found.input_size)
            for title, raw in found.maps.items()
        }
    channel = len(image) // 2 if found.channel is None else found.channel
    gray, limits = image.float()[channel], None
    if gray.dim() == 3:  # the middle slice of a volume
        gray = gray[len(gray) // 2]
    if window is not None:
        limits = (0.0, 255.0)
        if to_hu is not None:
            gray, limits = to_hu(gray), (float(window[0]), float(window[1]))
    rows: list[tuple[str, dict]] = [(title, {}) for title in found.titles]
    for title, maps in full.items():
        colors = attribution.normalize_map(
            maps[None], 'fixed' if value_range else 'image', value_range or (0.0, 1.0)
        )[0]
        if colors.dim() == 4:
            colors = colors[:, colors.shape[1] // 2]
        for (_, panels), values, raw in zip(rows, colors, maps):
            # The value range in the title distinguishes an empty map from a weak map.
            ends = '' if value_range else f' {raw.min():.2g} to {raw.max():.2g}'
            panels[f'{title}{ends}'] = values.cpu().numpy()
    ends = (
        (f'{value_range[0]:g}', f'{value_range[1]:g}')
        if value_range
        else ('least', 'most')
    )
    picture = overlay_rows(
        gray.cpu().numpy(), rows, ends, boxes_px=found.boxes_px, limits=limits
    )
    if found.slice_shares is None:
        return picture
    bars = slice_bars(found.slice_shares.cpu().numpy(), len(picture))
    return np.concatenate([picture, bars], 1)

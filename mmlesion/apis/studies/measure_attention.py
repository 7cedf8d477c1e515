"""Quantitative comparison of a detector's attention inside and outside lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.engine.trained_model import load_trained_model
from mmlesion.evaluation.functional import PairedDifference, paired_bootstrap
from mmlesion.explain.names import sample_name
from mmlesion.files import write_csv_table, write_json

CONTEXTUAL, SPATIAL = 'contextual', 'spatial'
SLICES_PER_IMAGE, SLICE_MM = 3, 2.0


@dataclass
class AttentionRow:
    """Mean attention at a lesion; NaN if a value is not defined.

    Attributes:
        image: Name of the key slice.
        patient: Patient of the key slice.
        lesion: Number of the lesion in the key slice, from 0.
        spatial_inside: Spatial attention in the box of the lesion, in the key image.
        spatial_outside: Spatial attention in the key image outside all boxes.
        spatial_control: Spatial attention in the same box at a random position outside
            all boxes.
        contextual_inside: Contextual attention in the box, mean over images.
        contextual_outside: Contextual attention outside all boxes, mean over images.
        contextual_present: Contextual attention in the box, in the images whose slices
            contain the lesion.
        contextual_absent: The same in the images without the lesion.
        contextual_by_image: Contextual attention in the box for each image, in the
            order of slice numbers.
        images_with_lesion: Number of images whose slices contain the lesion; None
            without a mask.
    """

    image: str
    patient: str
    lesion: int
    spatial_inside: float
    spatial_outside: float
    spatial_control: float
    contextual_inside: float
    contextual_outside: float
    contextual_present: float
    contextual_absent: float
    contextual_by_image: list[float]
    images_with_lesion: int | None


#: Comparisons of the table: name, first and second column.
COMPARISONS = (
    ('spatial: in the box, outside', 'spatial_inside', 'spatial_outside'),
    ('spatial: in the box, moved box', 'spatial_inside', 'spatial_control'),
    ('contextual: in the box, outside', 'contextual_inside', 'contextual_outside'),
    (
        'contextual: images with the lesion, without',
        'contextual_present',
        'contextual_absent',
    ),
)


def measure_attention(
    cfg: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    masks: str | Path | None = None,
    max_images: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure the attention of a detector at the lesions of its test data.

    The attention is divided by its maximum over images (contextual) or positions
    (spatial), as in the network, and averaged over channels. Output files:
    ``attention.csv`` (a row for each lesion) and ``attention.json`` (means, and
    differences with the 95 % interval of a bootstrap over patients). Attention with
    zero initialization is 1 everywhere, so an untrained network has no differences.

    Source: Tao et al., MICCAI 2019, Sec. 4, Figs. 2 and 3, which show single cases.

    Args:
        cfg: Config of a ContextRCNN with attention.
        checkpoint: Checkpoint of the model.
        out_dir: Output folder.
        masks: Folder ``<series>/<slice>.png`` with masks of all slices, as the
            phantom's ``masks``. They show which images contain the lesion.
        max_images: Number of key slices; None for all.
        seed: Random seed of the positions of the control boxes.

    Returns:
        Content of ``attention.json``.

    Raises:
        ValueError: If the model has no attention, the test data have no lesions, or a
            mask has no lesion in its box or another size than its slice.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model: Any = load_trained_model(cfg, checkpoint)
    if not hasattr(model, 'attention_maps') or not model.with_neck:
        raise ValueError(
            f'{cfg.filename}: {type(model).__name__} has no attention to measure; '
            'expected a ContextRCNN with a ContextNeck.'
        )
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    count = len(dataset) if max_images is None else min(max_images, len(dataset))
    rng = np.random.default_rng(seed)
    rows: list[AttentionRow] = []
    for index in tqdm(range(count), desc=f'Measuring {out_dir}', unit='key slice'):
        packed = dataset[index]
        rows += _measure(model, packed, None if masks is None else Path(masks), rng)
    if not rows:
        raise ValueError(f'{cfg.filename}: the test data have no lesions.')
    out_dir = Path(out_dir)
    tables = [asdict(row) for row in rows]
    write_csv_table(out_dir / 'attention.csv', list(tables[0]), tables)
    summary = _summarize(rows)
    write_json(out_dir / 'attention.json', summary, indent=1)
    return summary


def attention_table(summary: Mapping[str, Any]) -> str:
    """Format the result of :func:`measure_attention` as a Markdown table.

    Args:
        summary: The result.
    """
    lines = [
        '| comparison | first | second | difference (95 % interval) | lesions |',
        '|---|---|---|---|---|',
    ]
    for name, row in summary['comparisons'].items():
        lines.append(
            f'| {name} | {row["first"]:.3f} | {row["second"]:.3f} | '
            f'{row["difference"]:+.3f} ({row["low"]:+.3f} to {row["high"]:+.3f}) | '
            f'{row["num_cases"]} |'
        )
    if summary['contextual_by_image']:
        numbers = ', '.join(f'{value:.3f}' for value in summary['contextual_by_image'])
        lines += ['', f'Contextual attention in the box by image: {numbers}.']
    return '\n'.join(lines)


@torch.no_grad()
def _measure(
    model: Any, packed: dict, masks: Path | None, rng: np.random.Generator
) -> list[AttentionRow]:
    """Return the rows of all lesions of a key slice."""
    sample = packed['data_samples']
    lesions = [
        each for each in sample.get('instances', []) if not each.get('ignore_flag', 0)
    ]
    if not lesions:
        return []
    batch = model.data_preprocessor(
        dict(inputs=[packed['inputs']], data_samples=[sample]), False
    )
    found = model.attention_maps(batch['inputs'], batch['data_samples'])
    # (M, h, w), mean over channels
    maps = {
        name: None if each is None else each[0].float().mean(1).cpu().numpy()
        for name, each in found.items()
    }
    if all(each is None for each in maps.values()):
        raise ValueError(f'{type(model).__name__} has no attention to measure.')
    shape = next(each.shape for each in maps.values() if each is not None)
    stride = batch['inputs'].shape[-1] / shape[2]
    height, width = sample.img_shape[:2]
    valid = np.zeros(shape[1:], bool)
    valid[: -(-height // int(stride)), : -(-width // int(stride))] = True
    scale = np.tile(np.asarray(sample.get('scale_factor', (1, 1)), float), 2)
    boxes = [np.asarray(each['bbox'], float) for each in lesions]
    cells = [_cells(box * scale, stride, shape[1:]) for box in boxes]
    outside = valid & ~np.logical_or.reduce(cells)
    rows = []
    for number, (box, inside) in enumerate(zip(boxes, cells)):
        present = None
        if masks is not None:
            present = _images_with_lesion(masks, sample, box, shape[0])
        rows.append(
            AttentionRow(
                sample_name(sample),
                str(sample.get('patient')),
                number,
                *_spatial(maps[SPATIAL], inside, outside, rng),
                *_contextual(maps[CONTEXTUAL], inside, outside, present),
                None if present is None else int(present.sum()),
            )
        )
    return rows


def _spatial(
    weights: np.ndarray | None,
    inside: np.ndarray,
    outside: np.ndarray,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Measure the attention of the key image inside, outside, and in a moved box."""
    if weights is None:
        return np.nan, np.nan, np.nan
    key = weights[len(weights) // 2]
    rows, columns = np.nonzero(inside)
    size = (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)
    places = [
        (y, x)
        for y in range(key.shape[0] - size[0] + 1)
        for x in range(key.shape[1] - size[1] + 1)
        if outside[y : y + size[0], x : x + size[1]].all()
    ]
    control = np.nan
    if places:
        y, x = places[rng.integers(len(places))]
        control = key[y : y + size[0], x : x + size[1]].mean()
    return float(key[inside].mean()), _mean(key[outside]), float(control)


def _contextual(
    weights: np.ndarray | None,
    inside: np.ndarray,
    outside: np.ndarray,
    present: np.ndarray | None,
) -> tuple[float, float, float, float, list[float]]:
    """Measure the attention in the box, outside, by lesion presence, and by image."""
    if weights is None:
        return np.nan, np.nan, np.nan, np.nan, []
    by_image = weights[:, inside].mean(1)
    with_lesion, without = np.nan, np.nan
    if present is not None:
        with_lesion, without = _mean(by_image[present]), _mean(by_image[~present])
    return (
        float(by_image.mean()),
        _mean(weights[:, outside]),
        with_lesion,
        without,
        by_image.tolist(),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float('nan')


def _cells(box: np.ndarray, stride: float, shape: Sequence[int]) -> np.ndarray:
    """Return the feature cells that a box in the network input touches."""
    x1, y1, x2, y2 = box / stride
    mask = np.zeros(shape, bool)
    rows = slice(max(int(y1), 0), max(int(np.ceil(y2)), int(y1) + 1))
    columns = slice(max(int(x1), 0), max(int(np.ceil(x2)), int(x1) + 1))
    mask[rows, columns] = True
    return mask


def _images_with_lesion(
    masks: Path, sample: Any, box: np.ndarray, num_images: int
) -> np.ndarray:
    """Return whether each image has a slice with the lesion. Shape (M,)."""
    path = Path(sample.img_path)
    folder, key = masks / path.parent.name, int(path.stem)
    offset = np.tile(np.asarray(sample.get('crop_offset', (0, 0)), float), 2)
    x1, y1, x2, y2 = np.round(box + offset).astype(int)
    shape = tuple(sample.get('slice_shape', sample.ori_shape)[:2])  # before the crop
    shown = _read_mask(folder / path.name, shape)
    shown = shown[max(y1, 0) : y2, max(x1, 0) : x2]
    counts = np.bincount(shown[shown > 0].ravel(), minlength=2)
    if not counts.any():
        raise ValueError(f'{folder / path.name}: no lesion in the box {box.tolist()}.')
    label = int(counts.argmax())
    places = [
        (int(each.stem) - key) * float(sample.interval_mm)
        for each in sorted(folder.glob('*.png'))
        if (_read_mask(each, shape) == label).any()
    ]
    distance = SLICES_PER_IMAGE * SLICE_MM
    middles = (np.arange(num_images) - num_images // 2) * distance
    away = np.abs(middles[:, None] - np.asarray(places)[None])
    return np.any(away <= distance / 2, axis=1)


def _read_mask(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read the mask (H, W) of a slice of this shape."""
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if mask is None:
        raise FileNotFoundError(f'{path}: no such mask, or it cannot be read')
    if mask.shape != shape:
        raise ValueError(
            f'{path}: the mask has {mask.shape[1]} x {mask.shape[0]} pixels, but the '
            f'key slice has {shape[1]} x {shape[0]}'
        )
    return np.asarray(mask)


def _summarize(rows: Sequence[AttentionRow]) -> dict[str, Any]:
    patients = [row.patient for row in rows]
    comparisons = {}
    for name, first, second in COMPARISONS:
        one, two = ([getattr(row, key) for row in rows] for key in (first, second))
        difference: PairedDifference = paired_bootstrap(one, two, patients)
        if difference.num_cases:
            both = np.array([one, two])
            both = both[:, ~np.isnan(both).any(0)]
            comparisons[name] = dict(
                first=float(both[0].mean()),
                second=float(both[1].mean()),
                **difference._asdict(),
            )
    by_image = [row.contextual_by_image for row in rows if row.contextual_by_image]
    return dict(
        num_lesions=len(rows),
        comparisons=comparisons,
        contextual_by_image=np.mean(by_image, axis=0).tolist() if by_image else [],
    )

"""Maps of why a trained network said so, for files or a test data set."""

import copy
import difflib
import json
import os
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from tqdm import tqdm

from mmlesion import attribution
from mmlesion.ct import FULL_WINDOW_HU, boxes_in_slice, window_hu, write_volume
from mmlesion.engine.hooks.activation_map_hook import (
    GRADIENT_METHODS,
    METHODS,
    WITHOUT_LAYERS,
    by_target,
)
from mmlesion.visualization import write_picture
from mmlesion.visualization.map_overlay import overlay_rows
from mmlesion.visualization.map_placement import (
    boxes_on_input,
    map_on_input,
    map_volume,
)

from .explain_detections import (
    DetectionScores,
    NoDetectionError,
    detection_titles,
    explain_detections,
    is_detector,
)
from .explain_inputs import ExplainInputs
from .trained_model import load_trained_model


def explain(
    cfg,
    checkpoint,
    out_dir,
    images=None,
    methods=('GradCAM',),
    layers=(),
    targets=('predicted',),
    window=None,
    value_range=None,
    slices=None,
    max_images=None,
    score_thr=0.3,
    max_detections=5,
    device=None,
    progress=True,
):
    """Explain each image by maps of one method or several, side by side.

    Of a classifier of MMPretrain it explains classes, of a detector of MMDetection
    single boxes. Written for each image, over what is there:

    - ``<name>.png``: a row for each class or box, the picture and an overlay for
      each method (and layer), every map from its least to its largest value, which
      stand above it, unless ``value_range`` is given;
    - ``<name>_<method>.npy``: its raw float32 maps on the layer's grid, (K, h, w), or
      (K, M, h, w) of a layer that sees M slices one by one;
    - ``<name>_<method>.nii.gz``, where the image is a slice of a scan: the largest
      of these maps at each pixel of the network's picture, in its place;
    - ``<name>.json``: what the K are (boxes in pixels of the original picture), and
      by which layers and methods.

    Args:
        cfg (Config): The config, of any host; its test pipeline reads the images.
        checkpoint (str or Path): File or http(s) address, of exactly its model.
        out_dir (str or Path): Folder of the results.
        images (str or Path, optional): File or folder; by default the config's test
            data set. See :class:`ExplainInputs`.
        methods (sequence[str]): Of :mod:`mmlesion.attribution`.
        layers (sequence[str]): Layers to map. By default that of the last feature
            maps. Methods of attention, and of heads that draw maps, take none.
        targets (sequence[int | str]): Classes by number or name, ``'predicted'``,
            ``'label'`` (of the data set). Of a detector, numbers of boxes as
            predicted, or ``'predicted'``, the best.
        window (sequence[float], optional): HU of black and white in the pictures.
            Without ``mmlesion.WindowHU`` in the pipeline, the network gets scans by
            this window too.
        value_range (sequence[float], optional): Raw values of the two ends of the
            colours, the same for all maps.
        slices (sequence[int], optional): Slices of scans, from 0 at the feet.
        max_images (int, optional): Most images.
        score_thr (float): Least score of a box.
        max_detections (int): Most boxes of an image.
        device (str, optional): Defaults to the GPU, if there is one.
        progress (bool): Show a progress bar.

    Returns:
        list[dict]: What the JSON files hold.

    Raises:
        FileNotFoundError: If there is no such checkpoint, file or folder.
        ValueError: If a method, layer or target does not exist or fit the model, a
            file cannot be read, or no box of any image reaches ``score_thr``.
    """
    _check_methods(methods)
    if window is not None:
        window_hu(np.zeros(1), window)  # checks it
    model = load_trained_model(cfg, checkpoint, device)
    to_hu = _hu_of_grey(cfg)
    inputs = ExplainInputs(cfg, images, slices, window, max_images)
    if is_detector(model):
        explain_one = _Boxes(model, methods, layers, targets, score_thr, max_detections)
    else:
        explain_one = _Classes(model, methods, layers, targets)
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    written, nothing = [], None
    for name, data in tqdm(
        inputs, desc='Explaining', unit='image', disable=not progress
    ):
        try:
            found = explain_one(name, data)
        except NoDetectionError as error:
            nothing = f'{name}: {error}'
            tqdm.write(nothing)
            continue
        written.append(
            _write(
                out_dir / name,
                data,
                found,
                window=window,
                to_hu=to_hu,
                value_range=value_range,
            )
        )
    if not written and nothing:
        raise ValueError(
            f'{nothing}, and no other image has one: lower --score-thr'
            if len(inputs) > 1
            else f'{nothing}: lower --score-thr'
        )
    return written


class _Explainer:
    """Maps of one sample, by all methods and layers."""

    kinds = METHODS

    def __init__(self, model, methods, layers, targets):
        wrong = [name for name in methods if name not in self.kinds]
        if wrong:
            raise ValueError(
                f'method {wrong[0]} explains classes: for the boxes of a '
                f'detector choose of {", ".join(self.kinds)}'
            )
        self.model = model
        self.methods = methods
        self.layers = list(layers)
        self.targets = targets

    def layers_of(self, name, inputs, forward=None):
        """The layers that a method maps, as its arguments."""
        if name in WITHOUT_LAYERS:
            return ()
        if not self.layers:
            self.layers = [attribution.last_feature_layer(self.model, inputs, forward)]
            tqdm.write(f'Layer: {self.layers[0]} (the last feature maps)')
        return (self.layers,)


class _Classes(_Explainer):
    def __call__(self, name, data):
        batch = pseudo_collate([data])
        with torch.no_grad():
            (sample,) = self.model.test_step(copy.deepcopy(batch))
        if 'pred_score' not in sample:
            raise ValueError(
                f'{type(self.model).__name__} is neither a classifier of MMPretrain '
                'nor a detector of MMDetection: it predicted no pred_score'
            )
        scores = sample.pred_score.flatten().tolist()
        names = list(self.model.dataset_meta.get('classes') or ())
        if len(names) != len(scores):
            names = [f'class {index}' for index in range(len(scores))]
        classes = self._classes(sample, names, name)
        inputs = self.model.data_preprocessor(batch, False)['inputs']
        maps = {}
        for method in self.methods:
            layers = self.layers_of(method, inputs)
            with getattr(attribution, method)(self.model, *layers) as explainer:
                raw = explainer(inputs, [classes])
            for title, each in _by_title(method, raw).items():
                each = by_target(each)
                # Attention is the same for every class.
                maps[title] = each.expand(len(classes), *each.shape[1:])
        return dict(
            maps=maps,
            layers=self.layers,
            size=inputs.shape[2:],
            boxes_px=None,
            titles=[f'{names[index]} {scores[index]:.2f}' for index in classes],
            explained=[
                dict(label=index, name=names[index], score=scores[index])
                for index in classes
            ],
        )

    def _classes(self, sample, names, name):
        """Numbers of the classes asked for, each once."""
        classes = []
        for target in self.targets:
            if target == 'predicted':
                target = int(sample.pred_label.flatten()[0])
            elif target == 'label':
                if 'gt_label' not in sample:
                    raise ValueError(
                        f'{name}: there is no label, so that target '
                        "'label' cannot be explained"
                    )
                target = int(sample.gt_label.flatten()[0])
            elif target in names:
                target = names.index(target)
            if not isinstance(target, int) or not 0 <= target < len(names):
                raise ValueError(
                    f'there is no target {target}: the model has the classes 0 to '
                    f'{len(names) - 1} ({", ".join(names[:10])})'
                )
            classes.append(target)
        return list(dict.fromkeys(classes))


class _Boxes(_Explainer):
    kinds = GRADIENT_METHODS

    def __init__(self, model, methods, layers, targets, score_thr, max_detections):
        super().__init__(model, methods, layers, targets)
        wrong = (
            [each for each in targets if each != 'predicted']
            if ('predicted' in targets)
            else [each for each in targets if each == 'label']
        )
        if wrong:
            raise ValueError(
                f'target {wrong[0]} does not fit a detector: give numbers '
                "of boxes, or 'predicted' for the best"
            )
        self.chosen = dict(
            indices=None if 'predicted' in targets else list(targets),
            score_thr=score_thr,
            max_detections=max_detections,
        )

    def __call__(self, name, data):
        maps = {}
        for method in self.methods:
            (layers,) = self.layers_of(
                method, pseudo_collate([data]), DetectionScores(self.model).forward
            )
            raw, sample, indices = explain_detections(
                self.model, data, layers, getattr(attribution, method), **self.chosen
            )
            maps.update(
                (title, by_target(each))
                for title, each in _by_title(method, raw).items()
            )
        found = sample.pred_instances
        boxes = boxes_in_slice(found.bboxes, sample.get('crop_offset'))
        return dict(
            maps=maps,
            layers=self.layers,
            size=sample.batch_input_shape,
            boxes_px=boxes_on_input(data['data_samples'], sample, indices),
            titles=detection_titles(self.model, sample, indices),
            explained=[
                dict(
                    detection=index,
                    label=int(found.labels[index]),
                    score=float(found.scores[index]),
                    box=boxes[index].tolist(),
                )
                for index in indices
            ],
        )


def _check_methods(methods):
    for name in methods:
        if name not in METHODS:
            close = difflib.get_close_matches(name, METHODS, n=3, cutoff=0.3)
            raise ValueError(
                f'there is no method {name!r}; expected one of '
                f'{", ".join(close or METHODS)}'
            )


def _by_title(method, raw):
    """Maps by what stands above them: the method, and of several maps their layer."""
    if not isinstance(raw, dict):
        return {method: raw}
    return {f'{method} {layer}': each for layer, each in raw.items()}


def _hu_of_grey(cfg):
    """The function from the network's grey values to HU; None where there is none."""
    loader = cfg.get('test_dataloader') or {}
    for step in (loader.get('dataset') or {}).get('pipeline') or ():
        if str(step.type).rpartition('.')[2] == 'WindowHU':
            low, high = step.get('window', FULL_WINDOW_HU)
            first, last = step.get('out_range', (0, 255))
            return lambda grey: (grey - first) / (last - first) * (high - low) + low
    return None


def _write(stem, data, found, window, to_hu, value_range):
    """All files of one image; what its JSON holds."""
    image = data['inputs'].float()
    size, padded = image.shape[1:], found['size']
    picture, limits = image[len(image) // 2], None
    if picture.dim() == 3:  # the middle slice of a volume
        picture = picture[len(picture) // 2]
    if window is not None:
        limits = (0.0, 255.0)
        if to_hu is not None:
            picture, limits = to_hu(picture), tuple(window)
    rows = [(title, {}) for title in found['titles']]
    files = {}
    for title, raw in found['maps'].items():
        full = map_on_input(raw, size, padded)
        shown = attribution.normalise_map(
            full[None], 'fixed' if value_range else 'image', value_range
        )[0]
        if shown.dim() == 4:
            shown = shown[:, shown.shape[1] // 2]
        for (_, panels), each, one in zip(rows, shown, full):
            # what the ends of the colours are: an empty map looks like a weak one
            ends = '' if value_range else f' {one.min():.2g} to {one.max():.2g}'
            panels[f'{title}{ends}'] = each.cpu().numpy()
        files[title] = f'{stem.name}_{title.replace(" ", "_")}'
        array = raw.cpu().numpy()
        _put(
            stem.with_name(f'{files[title]}.npy'),
            lambda file, array=array: np.save(file, array),
        )
        if data['data_samples'].get('scan_geometry') is not None:
            write_volume(
                stem.with_name(f'{files[title]}.nii.gz'),
                map_volume(full.amax(0).cpu().numpy(), data['data_samples']),
            )
    ends = (
        tuple(f'{each:g}' for each in value_range) if value_range else ('least', 'most')
    )
    write_picture(
        f'{stem}.png',
        overlay_rows(
            picture.numpy(), rows, ends, boxes_px=found['boxes_px'], limits=limits
        ),
    )
    report = dict(
        name=stem.name,
        image=str(data['data_samples'].get('img_path')),
        layers=found['layers'],
        explained=found['explained'],
        maps={title: f'{file}.npy' for title, file in files.items()},
    )
    _put(
        stem.with_name(f'{stem.name}.json'),
        lambda file: file.write(json.dumps(report, indent=1).encode()),
    )
    return report


def _put(path, write):
    """Write a file beside its place, then move it there."""
    unfinished = path.with_name(f'{path.name}.part')
    with open(unfinished, 'wb') as file:
        write(file)
    os.replace(unfinished, path)

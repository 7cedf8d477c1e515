"""Explainers of single samples: classes of a classifier, boxes of a detector."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from tqdm import tqdm

from mmlesion import attribution
from mmlesion.attribution.input_slices import middle_channel
from mmlesion.attribution.targets import logits_of, scores_of
from mmlesion.ct import boxes_in_slice

from .detections import DetectionScores, detection_titles, explain_detections
from .methods import Method, MethodSpec, find_method
from .placement import boxes_on_input
from .writer import SampleMaps, by_title, split_by_target


class _Explainer:
    """Base class of explainers: methods, layers and targets.

    Args:
        model: The trained model.
        methods: Methods, see :func:`~mmlesion.explain.methods.find_method`.
        layers: Layers to map. Defaults to the layer of the last feature maps.
        targets: Targets to explain; see the subclasses.
        score: Score of a class or box to explain; see the subclasses.
    """

    detections = False

    def __init__(
        self,
        model: nn.Module,
        methods: Sequence[MethodSpec],
        layers: Sequence[str] = (),
        targets: Sequence[int | str | Callable] = ('predicted',),
        score: str | Callable = 'auto',
    ) -> None:
        self.model: Any = model
        self.methods = [find_method(each, self.detections) for each in methods]
        self.score = score
        self.layers = list(layers)
        self.targets = targets

    def layer_arguments(
        self, method: Method, inputs: Any, forward: Callable | None = None
    ) -> tuple:
        """Return the layers of a method as its positional arguments."""
        if not method.kind.needs_layers:
            return ()
        if not self.layers:
            self.layers = [attribution.last_feature_layer(self.model, inputs, forward)]
            tqdm.write(f'Layer: {self.layers[0]} (the last feature maps)')
        return (self.layers,)


class ClassExplainer(_Explainer):
    """Explainer of classes of a classifier of MMPretrain.

    Args:
        model: The trained classifier.
        methods: Methods, see :func:`~mmlesion.explain.methods.find_method`.
        layers: Layers to map. Defaults to the layer of the last feature maps.
        targets: Classes by index or name, ``'predicted'``, ``'label'`` of the data
            set, or callables from the output of the model to one score or K scores
            per sample; see :class:`~mmlesion.attribution.ActivationMap`. The maps of
            callables follow those of classes and have a name without a label.
        score: Score of a class; see
            :class:`~mmlesion.attribution.ActivationMap`. Defaults to the log-odds of
            two classes, or the logit for more classes.
        slices: ``'occlusion'`` or ``'gradient'`` also measures the contribution of each
            slice of the input; see
            :class:`~mmlesion.attribution.SliceImportance`.
    """

    def __init__(
        self,
        model: nn.Module,
        methods: Sequence[MethodSpec],
        layers: Sequence[str] = (),
        targets: Sequence[int | str | Callable] = ('predicted',),
        score: str | Callable = 'auto',
        slices: str | None = None,
    ) -> None:
        super().__init__(model, methods, layers, targets, score)
        self.slices = slices

    def __call__(self, name: str, data: Mapping[str, Any]) -> SampleMaps:
        """Explain one sample.

        Args:
            name: Name of the sample, for error messages.
            data: The packed sample.

        Returns:
            Its maps.

        Raises:
            ValueError: If the model is not a classifier, a class does not exist, or the
                sample has no label although ``'label'`` is a target.
        """
        batch = pseudo_collate([data])
        with torch.no_grad():
            (sample,) = self.model.test_step(copy.deepcopy(batch))
        if 'pred_score' not in sample:
            raise ValueError(
                f'{type(self.model).__name__} is neither a classifier of MMPretrain '
                'nor a detector of MMDetection: its predictions have no pred_score'
            )
        scores = sample.pred_score.flatten().tolist()
        names: list[str] = list(self.model.dataset_meta.get('classes') or ())
        if len(names) != len(scores):
            names = [f'class {index}' for index in range(len(scores))]
        classes = self._classes(sample, names, name)
        inputs = self.model.data_preprocessor(batch, False)['inputs']
        titles = [f'{names[index]} {scores[index]:.2f}' for index in classes]
        explained: list[dict] = [
            dict(label=index, name=names[index], score=scores[index])
            for index in classes
        ]
        target: Any = [classes]
        functions = [each for each in self.targets if callable(each)]
        if functions:
            target = self._target(classes, functions)
            for function, value in self._values(inputs, functions):
                titles.append(f'{function} {value:.2f}')
                explained.append(dict(name=function, score=value))
        maps: dict[str, Tensor] = {}
        for method in self.methods:
            layers = self.layer_arguments(method, inputs)
            with method(self.model, *layers, score=self.score) as explainer:
                raw = explainer(inputs, target)
            for title, each in by_title(method.name, raw).items():
                each = split_by_target(each)
                # Attention does not depend on the target.
                maps[title] = each.expand(len(titles), *each.shape[1:])
        shares = None
        if self.slices is not None:
            measure = attribution.SliceImportance(
                self.model, self.slices, score=self.score
            )
            measured = measure(inputs, target)
            assert isinstance(measured, Tensor)
            shares = measured[0]
        return SampleMaps(
            maps=maps,
            layers=self.layers,
            slice_shares=shares,
            channel=middle_channel(self.model, len(data['inputs'])),
            input_size=inputs.shape[2:],
            titles=titles,
            explained=explained,
        )

    def _target(self, classes: list[int], functions: list[Callable]) -> Callable:
        """Return a callable target that consists of classes and callables."""

        def target(output: Any) -> Tensor:
            parts = [scores_of(output, function) for function in functions]
            if classes:
                # methods may put several variants of the sample in one batch
                table = [classes] * len(logits_of(output))
                parts.insert(0, scores_of(output, table, self.score))
            return torch.cat(parts, 1)

        return target

    def _values(
        self, inputs: Any, functions: list[Callable]
    ) -> Iterator[tuple[str, float]]:
        """Yield the name and value of each score of the callables."""
        with torch.no_grad():
            output = self.model(inputs)
        for function in functions:
            name = getattr(function, '__name__', type(function).__name__)
            values = scores_of(output, function).flatten().tolist()
            for index, value in enumerate(values):
                yield (name if len(values) == 1 else f'{name} {index}'), value

    def _classes(self, sample: Any, names: list[str], name: str) -> list[int]:
        """Return the indices of the requested classes, without repetition."""
        classes = []
        for target in self.targets:
            if callable(target):
                continue
            if target == 'predicted':
                target = int(sample.pred_label.flatten()[0])
            elif target == 'label':
                if 'gt_label' not in sample:
                    raise ValueError(
                        f"{name}: the sample has no label, so target 'label' cannot "
                        'be explained'
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


class BoxExplainer(_Explainer):
    """Explainer of single boxes of a detector of MMDetection, each by its own score.

    Args:
        model: The trained detector.
        methods: Methods that explain any score, see
            :func:`~mmlesion.explain.methods.find_method`.
        layers: Layers to map. Defaults to the layer of the last feature maps.
        targets: Indices of boxes in the order of prediction, or ``'predicted'`` for
            the boxes with the highest scores.
        score_thr: Minimum score of an explained box.
        max_detections: Maximum number of explained boxes per image.
        score: Score of a box: ``'probability'``, ``'log_odds'`` or a callable; see
            :class:`~mmlesion.explain.detections.DetectionScores`.
    """

    detections = True

    def __init__(
        self,
        model: nn.Module,
        methods: Sequence[MethodSpec],
        layers: Sequence[str] = (),
        targets: Sequence[int | str | Callable] = ('predicted',),
        score_thr: float = 0.3,
        max_detections: int = 5,
        score: str | Callable = 'auto',
    ) -> None:
        super().__init__(model, methods, layers, targets, score)
        allowed = 'predicted' if 'predicted' in targets else None
        wrong = [
            t for t in targets if callable(t) or isinstance(t, str) and t != allowed
        ]
        if allowed:
            wrong = [target for target in targets if target != allowed]
        if wrong:
            raise ValueError(
                f'target {wrong[0]} does not fit a detector: give numbers '
                "of boxes, or 'predicted' for the best, and a callable as score"
            )
        self.chosen: dict[str, Any] = dict(
            indices=None if allowed else list(targets),
            score_thr=score_thr,
            max_detections=max_detections,
        )

    def __call__(self, name: str, data: Mapping[str, Any]) -> SampleMaps:
        """Explain one sample.

        Args:
            name: Name of the sample, for error messages.
            data: The packed sample.

        Returns:
            Its maps, one per box.

        Raises:
            NoDetectionError: If no box reaches ``score_thr``.
        """
        maps: dict[str, Tensor] = {}
        sample: Any = None
        indices: list = []
        for method in self.methods:
            (layers,) = self.layer_arguments(
                method, pseudo_collate([data]), DetectionScores(self.model).forward
            )
            raw, sample, indices = explain_detections(
                self.model, data, layers, method, score=self.score, **self.chosen
            )
            maps.update(
                (title, split_by_target(each))
                for title, each in by_title(method.name, raw).items()
            )
        found = sample.pred_instances
        boxes = boxes_in_slice(found.bboxes, sample.get('crop_offset'))
        return SampleMaps(
            maps=maps,
            layers=self.layers,
            input_size=sample.batch_input_shape,
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

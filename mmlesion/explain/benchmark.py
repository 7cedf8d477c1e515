"""Benchmark of attribution methods and controls on the same cases."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmlesion.attribution import ActivationMap, normalize_map, resize_map
from mmlesion.attribution.model_state import preserve_model_state
from mmlesion.attribution.targets import class_indices, logits_of, score_of_classes
from mmlesion.evaluation.functional import PixelHistogram
from mmlesion.files import markdown_table

from .measures import ALL_MEASURES, MapBatch, build_measures, first_map
from .methods import Method, MethodSpec, find_method

#: Control maps that do not depend on the model, included in every table.
CONTROLS = ('RandomMap', 'CenterMap', 'IntensityMap', 'EdgeMap')
# Values of a row that are no measures.
_ABOUT = ('method', 'case', 'group', 'label', 'explained', 'probability', 'zero')


@dataclass
class MapCases:
    """Batch of cases for a benchmark.

    Attributes:
        inputs: Input of the model.
        masks: Lesion masks at the size of the input.
        names: Name of each case.
        groups: Patient of each case. Defaults to the names. Cases of the same name and
            patient are repetitions of one case, e.g. by several models.
        labels: Label of each case, for ``target='label'`` and for the means by label.

    Shape:
        - inputs: (B, C, H, W)
        - masks: (B, H, W), bool
    """

    inputs: Tensor
    masks: np.ndarray
    names: Sequence[str]
    groups: Sequence[str] = ()
    labels: Sequence[int] = field(default_factory=list)

    def check(self) -> None:
        """Check shapes and masks.

        Raises:
            ValueError: If masks, names, groups or labels do not fit the inputs.
        """
        self.groups = self.groups if len(self.groups) else self.names
        masks = np.asarray(self.masks)
        if masks.dtype != bool:
            for name, mask in zip(self.names, masks):
                if not np.isfinite(mask).all():
                    raise ValueError(f'{name}: the mask has a value that is NaN')
            masks = masks != 0
        self.masks = masks
        expected = (len(self.inputs), *self.inputs.shape[2:])
        if masks.shape != expected:
            raise ValueError(
                f'{self.names[0]}: the masks have shape {masks.shape}; expected '
                f'{expected}, as the input'
            )
        for what, values in (
            ('names', self.names),
            ('groups', self.groups),
            ('labels', self.labels if len(self.labels) else self.names),
        ):
            if len(values) != len(self.inputs):
                raise ValueError(f'{len(values)} {what} for {len(self.inputs)} cases')


class MapBenchmark:
    """Evaluation of the maps of several methods on the same cases.

    Cases are added batch by batch, also of several models (folds). The controls
    :data:`CONTROLS` are evaluated as well. A case without a lesion has no
    localization measures: they are NaN and are ignored by the means.

    Args:
        methods: Methods, see :func:`~mmlesion.explain.methods.find_method`.
        measures: Measures, see :func:`~mmlesion.explain.measures.build_measures`.
        target: ``'predicted'``, ``'label'``, or a class.
        score: Explained score, see :class:`~mmlesion.attribution.ActivationMap`.
        layers: Layers of the methods that need layers.
        controls: Whether to evaluate the controls.

    Raises:
        ValueError: If a method, measure or target is unknown.
    """

    def __init__(
        self,
        methods: Sequence[MethodSpec | Method],
        measures: Sequence = ALL_MEASURES,
        target: int | str = 'predicted',
        score: str | Callable = 'auto',
        layers: Sequence[str] | str = (),
        controls: bool = True,
    ) -> None:
        self.methods = [find_method(each) for each in methods]
        self.controls = [find_method(each) for each in CONTROLS] if controls else []
        names = [each.name for each in self.methods]
        double = [name for name in names if names.count(name) > 1]
        if double:
            raise ValueError(
                f'two methods are named {double[0]}: give name=... to one of them'
            )
        self.measures = build_measures(measures)
        if target not in ('predicted', 'label') and not isinstance(target, int):
            raise ValueError(
                f"target must be 'predicted', 'label' or a class index, got {target!r}"
            )
        self.target = target
        self.score = score
        self.layers = layers
        self.rows: list[dict[str, Any]] = []
        self.histograms: dict[str, PixelHistogram] = {}

    def update(self, model: nn.Module, cases: MapCases, suffix: str = '') -> None:
        """Evaluate a batch.

        Args:
            model: The model.
            cases: The batch.
            suffix: Added to the names of the methods, such as ``' (untrained)'``. The
                controls are then omitted, and so are the measures of the methods
                themselves (sensitivity, randomized parameters, other class).

        Raises:
            ValueError: If the cases are inconsistent, or a method does not support the
                model.
        """
        cases.check()
        classes, num_classes, scores = self._classes(model, cases)
        forward = _fast_forward(model, cases.inputs)
        for method in [*self.methods, *([] if suffix else self.controls)]:
            # Heads compute their own maps, so layers are passed only to methods that
            # need them.
            layers = self.layers if method.kind.needs_layers else ()
            built = method(model, layers, score=self.score, forward=forward)

            def explain(
                inputs: Tensor, classes: Tensor, built: ActivationMap = built
            ) -> Tensor:
                return first_map(built(inputs, classes))

            raw = explain(cases.inputs, classes)
            _check_finite(method.name, raw, cases.names)
            maps = resize_map(raw, tuple(cases.inputs.shape[2:]))
            batch = MapBatch(
                model,
                cases.inputs,
                maps[:, 0],
                raw,
                cases.masks,
                classes,
                num_classes,
                self.score,
                explain,
                forward,
                trained=not suffix,
            )
            name = method.name + suffix
            values: dict[str, np.ndarray] = {}
            for measure in self.measures:
                values.update(measure(batch))
            scaled = normalize_map(maps, 'image')[:, 0].cpu().numpy()
            histogram = self.histograms.setdefault(name, PixelHistogram())
            for index in range(len(cases.names)):
                if cases.masks[index].any():
                    histogram.update(scaled[index], cases.masks[index])
            self.rows += [
                dict(
                    method=name,
                    case=str(case),
                    group=str(cases.groups[index]),
                    label=int(cases.labels[index]) if len(cases.labels) else -1,
                    explained=int(classes[index]),
                    probability=float(scores[index]),
                    zero=not bool(raw[index].any()),
                    **{key: float(each[index]) for key, each in values.items()},
                )
                for index, case in enumerate(cases.names)
            ]

    def _classes(self, model: nn.Module, cases: MapCases) -> tuple[Tensor, int, Tensor]:
        """Return explained class, number of classes, and probability of the class."""
        with preserve_model_state(model, gradient=False):
            logits = logits_of(model(cases.inputs)).float()
        target: Any = None
        if self.target == 'label':
            if not len(cases.labels):
                raise ValueError("target 'label' needs the label of each case")
            target = torch.as_tensor(list(cases.labels), device=logits.device)
        elif self.target != 'predicted':
            target = self.target
        classes = class_indices(target, logits)
        scores = score_of_classes(logits, classes, 'probability')[:, 0]
        return classes[:, 0], logits.shape[1], scores

    def compute(self) -> dict[str, dict[str, float]]:
        """Compute the mean of each measure over the cases, by method.

        Returns:
            By method: ``auprc_pooled``, ``auroc_pooled`` (all pixels of all cases, each
            map scaled to 0..1), the mean of each measure, and of the localization also
            the means by label (``auprc_label0``); ``num_cases`` and ``num_zero``, the
            maps that are zero everywhere.
        """
        table, all_rows = {}, self.table_rows()
        for method, histogram in self.histograms.items():
            rows = [row for row in all_rows if row['method'] == method]
            ranking = histogram.ranking()
            numbers = dict(
                num_cases=float(len(rows)),
                num_zero=float(sum(row['zero'] for row in rows)),
                auprc_pooled=ranking.auprc,
                auroc_pooled=ranking.auroc,
                prevalence_pooled=ranking.prevalence,
            )
            for name in self.measure_names():
                numbers[name] = _mean([row[name] for row in rows])
            for label in sorted({row['label'] for row in rows} - {-1}):
                for name in ('auprc', 'band_auprc'):
                    if name in numbers:
                        numbers[f'{name}_label{label}'] = _mean(
                            [row[name] for row in rows if row['label'] == label]
                        )
            table[method] = numbers
        return table

    def measure_names(self) -> list[str]:
        """Return the names of the measures."""
        # A batch without lesions has no measures of localization.
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in names if name not in _ABOUT]

    def cases(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the measures of each case, as means over its repetitions.

        A case is repeated if several models were evaluated on it, such as several
        seeds.

        Returns:
            By method and case: the group and the measures.

        Raises:
            ValueError: If two cases of different patients have the same name.
        """
        repeated: dict[str, dict[str, list[dict]]] = {}
        for row in self.table_rows():
            rows = repeated.setdefault(row['method'], {}).setdefault(row['case'], [])
            if rows and rows[0]['group'] != row['group']:
                raise ValueError(
                    f'{row["case"]} is the name of cases of two patients, '
                    f'{rows[0]["group"]} and {row["group"]}; expected different names'
                )
            rows.append(row)
        names = self.measure_names()
        return {
            method: {
                case: dict(
                    group=rows[0]['group'],
                    **{name: _mean([row[name] for row in rows]) for name in names},
                )
                for case, rows in cases.items()
            }
            for method, cases in repeated.items()
        }

    def table_rows(self) -> list[dict[str, Any]]:
        """Return one row per method and case, with NaN for undefined measures."""
        names = [*_ABOUT, *self.measure_names()]
        return [{name: row.get(name, np.nan) for name in names} for row in self.rows]


def benchmark_table(
    numbers: Mapping[str, Mapping[str, float]], measures: Sequence[str]
) -> str:
    """Format a Markdown table with one row per method.

    Args:
        numbers: Numbers by method, from :meth:`MapBenchmark.compute`.
        measures: Names of the columns; names without values are omitted.
    """
    shown = [name for name in measures if any(name in row for row in numbers.values())]
    cells = [['method', *shown]]
    for method, row in numbers.items():
        values = [row.get(name, np.nan) for name in shown]
        cells.append([method, *('-' if np.isnan(v) else f'{v:.3f}' for v in values)])
    return markdown_table(cells)


def _check_finite(method: str, maps: Tensor, names: Sequence[str]) -> None:
    """Raise an error that names the first map with a value that is not finite."""
    wrong = (~maps.isfinite()).flatten(1).any(1).nonzero()
    if len(wrong):
        raise ValueError(
            f'{method}: the map of {names[int(wrong[0])]} has values that are not '
            'finite'
        )


def _fast_forward(model: nn.Module, inputs: Tensor) -> Callable[[Tensor], Any]:
    """Return a forward function with the memory layout in which convolutions are fast.

    On a CPU, this is ``channels_last`` for images. The default layout is used if the
    model does not support it, for example because of ``Tensor.view``.
    """
    if inputs.dim() != 4 or inputs.is_cuda:
        return model

    def forward(images: Tensor) -> Any:
        return model(images.contiguous(memory_format=torch.channels_last))

    try:
        with torch.no_grad(), preserve_model_state(model, gradient=False):
            forward(inputs[:1])
    except RuntimeError:
        return model
    return forward


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else np.nan

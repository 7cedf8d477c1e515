"""Benchmark of activation maps during testing."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmlesion.engine.model_building import build_untrained_model
from mmlesion.explain.benchmark import MapBenchmark, benchmark_table
from mmlesion.explain.cases import cases_of
from mmlesion.explain.comparison import difference_table, map_differences
from mmlesion.explain.measures import ALL_MEASURES
from mmlesion.explain.methods import MethodSpec
from mmlesion.files import write_csv_table, write_json
from mmlesion.registry import HOOKS


@HOOKS.register_module()
class MapBenchmarkHook(Hook):
    """Evaluate maps of several methods, and of controls, on the test data.

    The metrics are those of ``mmlesion measure-maps`` for one network. The hook writes
    the means and the differences to the first method (95 % intervals of a bootstrap
    over patients) to the log and to ``<work_dir>/maps.json``, and the metrics of each
    case to ``<work_dir>/maps.csv``. It supports only one process.

    Args:
        methods: Method names; see
            :func:`mmlesion.explain.methods.find_method`.
        measures: Measure names; see
            :func:`mmlesion.explain.measures.build_measures`. Defaults to all.
        layers: Layers for the methods that need layers.
        target: ``'predicted'``, ``'label'`` or a class index.
        score: Explained score. Defaults to the log-odds for two
            classes, otherwise the logit.
        controls: Whether to evaluate the control maps as well.
        untrained: Whether to evaluate the methods also on the network of the runner's
            config with random weights.
        mask_key: Key of the mask in the data samples. Without it, boxes are used.
        group_key: Key of the patient in the data samples.
        columns: Metrics to show in the log. Defaults to all.
        seed: Seed of the untrained network and of the bootstrap.

    Raises:
        ValueError: If a method, measure or target is unknown.
    """

    def __init__(
        self,
        methods: Sequence[MethodSpec],
        measures: Sequence = ALL_MEASURES,
        layers: Sequence[str] | str = (),
        target: int | str = 'predicted',
        score: str | Callable = 'auto',
        controls: bool = True,
        untrained: bool = True,
        mask_key: str = 'mask',
        group_key: str = 'patient',
        columns: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.arguments = (methods, measures, target, score, layers, controls)
        self.mask_key = mask_key
        self.group_key = group_key
        self.columns = columns
        self.untrained = untrained
        self.seed = seed
        self.benchmark = MapBenchmark(*self.arguments)
        self._untrained_model: Any = None
        self._names: Counter[str] = Counter()

    def before_test_epoch(self, runner: Runner) -> None:
        """Discard the cases of an earlier test and build the untrained network.

        Raises:
            ValueError: If the runner has no config of the model.
        """
        self.benchmark = MapBenchmark(*self.arguments)
        self._names = Counter()
        if self.untrained:
            if not isinstance(runner.cfg.get('model'), dict):
                raise ValueError(
                    'MapBenchmarkHook: the untrained network needs a model config in '
                    'the runner; give untrained=False to omit it'
                )
            device = next(runner.model.parameters()).device
            built = build_untrained_model(runner.cfg, self.seed)
            self._untrained_model = built.to(device)

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Evaluate the maps of a batch."""
        if data_batch is None:
            return
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        batch = [
            dict(inputs=image, data_samples=sample)
            for image, sample in zip(data_batch['inputs'], data_batch['data_samples'])
        ]
        cases = cases_of(model, batch, self.mask_key, self.group_key, self._names)
        self.benchmark.update(model, cases)
        if self._untrained_model is not None:
            self.benchmark.update(self._untrained_model, cases, ' (untrained)')

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Log and write the metrics and differences."""
        self._untrained_model = None
        rows = self.benchmark.table_rows()
        if not rows:
            return
        numbers = self.benchmark.compute()
        columns = self.columns or list(next(iter(numbers.values())))
        print_log(f'Maps:\n{benchmark_table(numbers, columns)}', 'current')
        network = Path(runner.cfg.filename or 'network').stem
        reference = f'{network}/{self.benchmark.methods[0].name}'
        differences = map_differences({network: self.benchmark}, reference, self.seed)
        if differences:
            table = difference_table(differences, reference)
            print_log(f'Differences of the maps:\n{table}', 'current')
        folder = Path(runner.work_dir)
        content = dict(reference=reference, means=numbers, differences=differences)
        write_json(folder / 'maps.json', content, indent=1)
        write_csv_table(folder / 'maps.csv', list(rows[0]), rows)

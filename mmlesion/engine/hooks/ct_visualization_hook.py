"""Overlays of detections during validation and testing."""

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlesion.explain.names import sample_name
from mmlesion.registry import HOOKS
from mmlesion.visualization import CTVisualizer


@HOOKS.register_module()
class CTVisualizationHook(Hook):
    """Draw detections on the key slices with :class:`CTVisualizer`.

    MMDetection's hook reads ``img_path`` as an 8-bit image. With this hook, the
    visualizer reads the file, and it reads 16-bit PNG files as HU.

    Validation draws the first sample of every ``interval``-th batch with the backends
    of the visualizer. Testing draws every sample, to ``test_out_dir`` or with the
    backends.

    Args:
        draw: Whether to draw. ``mmlesion test`` sets it for ``--show`` and
            ``--show-dir``.
        interval: Number of batches between figures in validation.
        score_thr: Minimum score of the detections to draw.
        show: Whether to open a window for each sample of the test.
        wait_time: Display time of the window in seconds; 0 waits for a key.
        test_out_dir: Folder of the test images ``<series>_<slice>.png``, not
            relative to the work directory. None draws with the backends.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
    ) -> None:
        self.draw = draw
        self.interval = interval
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self._visualizer: Any = None

    def _visualizer_of(self, runner: Runner) -> CTVisualizer:
        """Return the visualizer of the runner, or a new one if it cannot draw CT."""
        if self._visualizer is None:
            self._visualizer = runner.visualizer
            if not isinstance(self._visualizer, CTVisualizer):
                self._visualizer = CTVisualizer.get_instance('ct_visualizer')
        return self._visualizer

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Draw the first sample of every ``interval``-th batch.

        Args:
            runner: The runner.
            batch_idx: Index of the batch.
            data_batch: Not used.
            outputs: Data samples with predictions.
        """
        if self.draw and batch_idx % self.interval == 0:
            self._visualizer_of(runner).add_datasample(
                f'val_{sample_name(outputs[0])}',
                data_sample=outputs[0],
                pred_score_thr=self.score_thr,
                step=runner.iter,
            )

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Draw all samples of the batch.

        Args:
            runner: The runner.
            batch_idx: Index of the batch.
            data_batch: Not used.
            outputs: Data samples with predictions.
        """
        if not self.draw:
            return
        for sample in outputs:
            name = sample_name(sample)
            out_file = None
            if self.test_out_dir is not None:
                out_file = Path(self.test_out_dir) / f'{name}.png'
            self._visualizer_of(runner).add_datasample(
                name,
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                out_file=out_file,
                pred_score_thr=self.score_thr,
            )

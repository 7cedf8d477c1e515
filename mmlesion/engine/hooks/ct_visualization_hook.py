"""Overlays of the detections during validation and testing."""

from pathlib import Path

from mmengine.hooks import Hook

from mmlesion.explain.names import sample_name
from mmlesion.registry import HOOKS
from mmlesion.visualization import CTVisualizer


@HOOKS.register_module()
class CTVisualizationHook(Hook):
    """Draw detections on the key slices with :class:`CTVisualizer`.

    MMDetection's hook reads ``img_path`` as an 8-bit picture; this one leaves
    the reading to the visualiser, which reads 16-bit PNGs as HU.

    Validation draws every ``interval``-th sample for the visualiser's
    backends. Testing draws every sample: into ``test_out_dir``, or for the
    backends if that is None.

    Args:
        draw (bool): Whether to draw at all. ``tools/test.py`` sets it for
            ``--show`` and ``--show-dir``.
        interval (int): In validation, batches from one picture to the next.
        score_thr (float): Detections with lower scores are not drawn.
        show (bool): Open a window for each sample of the test.
        wait_time (float): Seconds that it stays; 0 is until a key.
        test_out_dir (str, optional): Folder of the test's pictures
            ``<series>_<slice>.png``, as written, not below the work directory.
    """

    def __init__(
        self,
        draw=False,
        interval=50,
        score_thr=0.3,
        show=False,
        wait_time=0.0,
        test_out_dir=None,
    ):
        self.draw = draw
        self.interval = interval
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self._visualizer = None

    def _visualizer_of(self, runner):
        """The runner's visualiser, or one of our own if it cannot draw CT."""
        if self._visualizer is None:
            self._visualizer = runner.visualizer
            if not isinstance(self._visualizer, CTVisualizer):
                self._visualizer = CTVisualizer.get_instance('ct_visualizer')
        return self._visualizer

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw the first sample of every ``interval``-th batch.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch.
            data_batch (dict, optional): As the data loader gave it.
            outputs (list[DetDataSample], optional): With predictions.
        """
        if self.draw and batch_idx % self.interval == 0:
            self._visualizer_of(runner).add_datasample(
                f'val_{sample_name(outputs[0])}',
                data_sample=outputs[0],
                pred_score_thr=self.score_thr,
                step=runner.iter,
            )

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw all samples of the batch.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch.
            data_batch (dict, optional): As the data loader gave it.
            outputs (list[DetDataSample], optional): With predictions.
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

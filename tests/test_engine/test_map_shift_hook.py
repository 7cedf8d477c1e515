"""Fitting of the shift of maps: when, and with which slices."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop

from mmlesion.engine.hooks import MapShiftHook


class Model:
    """Notes the slices it gets."""

    positive = 1
    multi_gap = None

    def __init__(self):
        self.map_shift_px = torch.zeros(2, 2)
        self.calls = []

    def fit_map_shift(self, slices, max_side_px):
        seen = [int(each[0, 0, 0]) for each in slices]
        self.calls.append((seen, max_side_px))
        return len(seen)


class Slices:
    """Six slices; those of odd numbers have a nodule."""

    def __len__(self):
        return 6

    def get_data_info(self, index):
        return dict(gt_label=index % 2)

    def __getitem__(self, index):
        return dict(inputs=torch.full((1, 2, 2), index))


def run_epochs(hook, max_epochs=5, val_interval=2):
    model = Model()
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loop._max_epochs, loop.val_interval = max_epochs, val_interval
    loop.dataloader = SimpleNamespace(dataset=Slices())
    logger = logging.getLogger('shift')
    for epoch in range(max_epochs):
        hook.after_train_epoch(
            SimpleNamespace(train_loop=loop, epoch=epoch, model=model, logger=logger)
        )
    return model.calls


def test_positive_slices_are_used_before_each_validation():
    calls = run_epochs(MapShiftHook(num_slices=10, max_side_px=40))
    # After epochs 2, 4 and the last
    assert len(calls) == 3 and all(side == 40 for _, side in calls)
    assert all(sorted(seen) == [1, 3, 5] for seen, _ in calls)
    few = run_epochs(MapShiftHook(num_slices=2))
    assert few[0] == few[1] and len(set(few[0][0])) == 2


def test_no_slices_are_refused():
    with pytest.raises(ValueError, match='num_slices must be 1 or more'):
        MapShiftHook(num_slices=0)

"""Fixtures of all tests: seeds, the default scope, and threads."""

import os
import random

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

import mmlesion.registry  # noqa: F401  (settles torchvision before mmdet loads)

# pytest-xdist runs one process per core: threads on top would only compete.
torch.set_num_threads(
    max(1, os.cpu_count() // int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1)))
)


@pytest.fixture(autouse=True)
def seeds():
    """The same random numbers whichever tests ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def host_scope():
    """The scope under which configs run; one that a test sets goes with it."""
    before = set(DefaultScope._instance_dict)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield
    for name in set(DefaultScope._instance_dict) - before:
        DefaultScope._instance_dict.pop(name)


@pytest.fixture
def nodule_row():
    """Row of a malignant nodule for an index of nodules."""
    from mmlesion.datasets.indices.nodule_index import NoduleRow

    return NoduleRow(
        nodule_id='a',
        patient='LIDC-IDRI-0001',
        series_uid='1.2',
        label=1,
        malignancy=4.25,
        num_readers=4,
        diameter_mm=8.5,
        outside=0.0,
        subtlety=5.0,
        internal_structure=1.0,
        calcification=6.0,
        sphericity=3.5,
        margin=2.0,
        lobulation=1.0,
        spiculation=4.0,
        texture=5.0,
    )

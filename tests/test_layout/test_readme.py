"""Files, make targets and configs of the README exist and work."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS

from mmlesion.phantom import write_deeplesion

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
SNIPPETS = re.findall(r'```python\n(.*?)```', README, flags=re.S)
CONFIGS = [snippet for snippet in SNIPPETS if 'import ' not in snippet]


def without_pretrained(cfg):
    """Drop every ``Pretrained`` initialization: nothing is downloaded."""
    if isinstance(cfg, dict):
        if (cfg.get('init_cfg') or {}).get('type') == 'Pretrained':
            cfg['init_cfg'] = None
        for value in cfg.values():
            without_pretrained(value)
    elif isinstance(cfg, list):
        for value in cfg:
            without_pretrained(value)


def test_every_file_named_is_there():
    names = set(re.findall(r'\]\((?!http)([^)#]+)\)', README))
    names |= set(re.findall(r'(?:tools|requirements|mmlesion)/[\w/]+\.\w+', README))
    assert len(names) > 15
    assert not sorted(name for name in names if not (ROOT / name).exists())


def test_every_make_target_named_is_there():
    makefile = (ROOT / 'Makefile').read_text()
    for target in set(re.findall(r'\bmake ([a-z-]+)', README)):
        assert re.search(rf'^{target}:', makefile, flags=re.M), target


# Slices each takes, sides of its feature maps for a picture of 64 x 64.
@pytest.mark.parametrize(
    'source, channels, sides',
    [(CONFIGS[0], 3, (16, 8, 4, 2, 1)), (CONFIGS[1], 15, (8, 4, 2, 1, 1))],
)
def test_its_configs_build_and_run(source, channels, sides, tmp_path):
    (tmp_path / 'mine.py').write_text(source)
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert 'mmlesion.' in cfg.pretty_text
    without_pretrained(cfg.model)
    model = MODELS.build(cfg.model)
    features = model.extract_feat(torch.zeros(1, channels, 64, 64))
    assert [tuple(each.shape) for each in features] == [
        (1, 256, side, side) for side in sides
    ]
    if cfg.val_evaluator.type.startswith('mmlesion.'):
        assert METRICS.build(cfg.val_evaluator).prefix == 'froc'


def test_all_its_configs_are_tested():
    assert len(CONFIGS) == 2
    for snippet in SNIPPETS:
        compile(snippet, 'README.md', 'exec')


def test_its_stock_detector_reads_our_data(tmp_path):
    (tmp_path / 'mine.py').write_text(CONFIGS[1])
    cfg = Config.fromfile(tmp_path / 'mine.py')
    root = write_deeplesion(tmp_path / 'phantom', 1, 1, 1, size=96, context_mm=15)
    for split in ('train', 'val', 'test'):
        settings = cfg[f'{split}_dataloader'].dataset
        assert settings.type == 'mmlesion.DeepLesionDataset'
        settings.data_root = str(root)
        (sample,) = DATASETS.build(settings)
        assert sample['inputs'].shape[0] == 15
        assert sample['inputs'].dtype == torch.int16
        assert len(sample['data_samples'].gt_instances.bboxes)


def test_the_pictures_are_small():
    sizes = {
        path: path.stat().st_size
        for path in (ROOT / 'docs' / 'images').iterdir()
        if path.suffix != '.svg'
    }
    assert sizes and sum(sizes.values()) < 1_000_000, sizes


def test_every_make_target_is_listed():
    makefile = (ROOT / 'Makefile').read_text()
    for target in re.findall(r'^([a-z-]+):.*##', makefile, flags=re.M):
        assert target == 'help' or f'`make {target}`' in README, target

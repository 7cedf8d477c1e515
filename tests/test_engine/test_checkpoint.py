"""Reading a checkpoint must not run code from it."""

import os

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmlesion.engine.checkpoint import read_checkpoint


class _Touch:
    """A pickle that makes a file when an ordinary reader opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class _Attribute:
    """A pickle that reaches for an attribute through ``getattr``."""

    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


def test_what_mmengine_writes_is_read_back(tmp_path):
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    path = tmp_path / 'epoch_1.pth'
    torch.save(
        dict(
            meta=dict(epoch=1, dataset_meta=dict(classes=('lesion',))),
            state_dict=dict(weight=torch.ones(2)),
            message_hub=dict(
                log_scalars=dict(loss=buffer),
                runtime_info=dict(
                    best=np.float64(0.5), iters=np.int64(7), array=np.arange(3)
                ),
            ),
        ),
        path,
    )

    checkpoint = read_checkpoint(path)

    assert checkpoint['meta']['epoch'] == 1
    assert torch.equal(checkpoint['state_dict']['weight'], torch.ones(2))
    hub = checkpoint['message_hub']
    assert hub['log_scalars']['loss'].mean() == 2
    assert hub['runtime_info']['best'] == 0.5
    assert hub['runtime_info']['array'].tolist() == [0, 1, 2]


def test_code_in_a_checkpoint_is_refused_and_does_not_run(tmp_path):
    made = tmp_path / 'made_by_the_checkpoint'
    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, surprise=_Touch(made)), path)

    with pytest.raises(
        ValueError,
        match=r'evil\.pth was not loaded.*mkdir.*'
        '--trust-checkpoint',
    ) as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value)
    assert not made.exists()

    read_checkpoint(path, trust=True)
    assert made.exists()


def test_getattr_reaches_no_more_than_the_statistics_of_log_buffers(tmp_path):
    path = tmp_path / 'reach.pth'
    torch.save(dict(state_dict={}, surprise=_Attribute()), path)
    with pytest.raises(ValueError, match='asks to run getattr'):
        read_checkpoint(path)


def test_the_config_that_mmengine_would_execute_is_dropped(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={}, meta=dict(config='import os', epoch=1)), path)
    assert read_checkpoint(path)['meta'] == dict(epoch=1)
    assert 'config' in read_checkpoint(path, trust=True)['meta']


@pytest.mark.parametrize('content', [b'', b'hello, this is text', b'PK\x03\x04'])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / 'no.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'no\.pth is damaged') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value)


def test_a_truncated_checkpoint_is_named(tmp_path):
    path = tmp_path / 'cut.pth'
    torch.save(dict(state_dict=dict(w=torch.zeros(1000))), path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r'cut\.pth is damaged'):
        read_checkpoint(path)


def test_a_missing_file_a_folder_and_a_zoo_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        read_checkpoint(tmp_path / 'none.pth')
    with pytest.raises(ValueError, match='is a folder'):
        read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match='local file or an http'):
        read_checkpoint('open-mmlab://vgg16_caffe')


def test_something_else_than_a_dict_is_named(tmp_path):
    path = tmp_path / 'list.pth'
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match='holds a list'):
        read_checkpoint(path)


def test_a_pattern_names_a_single_file(tmp_path):
    pattern = tmp_path / 'best_*.pth'
    with pytest.raises(FileNotFoundError, match=r'best_\*.pth does not exist'):
        read_checkpoint(pattern)
    torch.save(dict(state_dict={'a': torch.ones(2)}), tmp_path / 'best_1.pth')
    assert read_checkpoint(pattern)['state_dict']['a'].sum() == 2
    torch.save(dict(state_dict={'a': torch.ones(2)}), tmp_path / 'best_2.pth')
    with pytest.raises(ValueError, match='matches 2 files .* a single file'):
        read_checkpoint(pattern)

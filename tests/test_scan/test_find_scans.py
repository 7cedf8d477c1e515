"""Scans in a folder or list."""

import pytest

from mmlesion.scan.find_scans import find_scans


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_subfolders_and_nested_folders(tmp_path):
    touch(
        tmp_path / 'a.nii.gz',
        tmp_path / 'b c' / '1.dcm',
        tmp_path / 'b c' / '2.dcm',
        tmp_path / 'd' / 'e' / '1',
        tmp_path / 'd' / 'f.nrrd',
        tmp_path / 'notes.md',
    )
    found = find_scans(tmp_path)
    assert {name: str(path.relative_to(tmp_path)) for name, path in found.items()} == {
        'a': 'a.nii.gz',
        'b_c': 'b c',
        'd_e': 'd/e',
        'd_f': 'd/f.nrrd',
    }


def test_a_folder_of_other_files_is_one_scan(tmp_path):
    touch(tmp_path / 'series' / 'IM1', tmp_path / 'series' / 'IM2')
    assert find_scans(tmp_path / 'series') == {'series': tmp_path / 'series'}


def test_a_list(tmp_path):
    touch(tmp_path / 'x' / 'a.nii', tmp_path / 'y' / 'a.nii')
    (tmp_path / 'list.txt').write_text('# scans\nx/a.nii\n\ny/a.nii\ngone.nii\n')
    found = find_scans(tmp_path / 'list.txt')
    assert list(found) == ['x_a', 'y_a', 'gone']


def test_names_are_unique(tmp_path):
    touch(tmp_path / 'a.nii', tmp_path / 'a.nrrd', tmp_path / 'a b.nii')
    touch(tmp_path / 'a_b.nii')
    assert list(find_scans(tmp_path)) == ['a_b.nii', 'a.nii', 'a.nrrd', 'a_b.nii_2']


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match='none'):
        find_scans(tmp_path / 'none')
    with pytest.raises(ValueError, match='the folder is empty'):
        find_scans(tmp_path)
    (tmp_path / 'list.txt').write_text('\n')
    with pytest.raises(ValueError, match='no scan was found'):
        find_scans(tmp_path / 'list.txt')

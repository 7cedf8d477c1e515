"""Scans in a folder or list."""

import pytest

from mmlesion.scan.find_scans import find_scans, scan_folder


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


@pytest.mark.parametrize('name', ['1.dcm', 'IM1'])
def test_dicom_files_beside_other_scans(tmp_path, name):
    folder = tmp_path / 'patient'
    touch(folder / 'thumbs' / 'a.jpg', folder / 'empty' / 'b' / 'notes.txt')
    (folder / name).write_bytes(bytes(128) + b'DICM')
    assert find_scans(folder) == {'patient': folder}
    touch(folder / 'ct.nii.gz', folder / 'more' / '2.dcm', folder / 'DICOMDIR')
    assert find_scans(folder) == {
        'patient': folder,
        'ct': folder / 'ct.nii.gz',
        'more': folder / 'more',
    }
    assert list(find_scans(tmp_path)) == [
        'patient',
        'patient_ct',
        'patient_more',
    ]


def test_an_index_of_a_medium_is_no_scan(tmp_path):
    (tmp_path / 'DICOMDIR').write_bytes(bytes(128) + b'DICM')
    touch(tmp_path / 'series' / '1.dcm')
    assert find_scans(tmp_path) == {'series': tmp_path / 'series'}


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


def test_each_scan_keeps_its_own_folder(tmp_path, monkeypatch):
    scans = [tmp_path / name / 'ct.nii.gz' for name in ('P1', 'P2', 'x/P2')]
    touch(*scans)
    out = tmp_path / 'out'
    assert [scan_folder(out, scan).name for scan in scans] == ['ct', 'P2_ct', 'P2_ct_2']
    for path in scans[::-1]:  # again, by a relative path
        monkeypatch.chdir(path.parent)
        folder = scan_folder(out, 'ct.nii.gz')
        assert folder == scan_folder(out, path)
    # results of another program, and an empty folder
    touch(out / 'a' / 'findings.json', tmp_path / 'P1' / 'a.nrrd')
    assert scan_folder(out, tmp_path / 'P1' / 'a.nrrd').name == 'P1_a'
    touch(tmp_path / 'series' / 'IM1')
    (out / 'series').mkdir()
    assert scan_folder(out, tmp_path / 'series').name == 'series'
    with pytest.raises(FileNotFoundError, match='none: no such file or folder'):
        scan_folder(out, tmp_path / 'none')
    assert not (out / 'none').exists()

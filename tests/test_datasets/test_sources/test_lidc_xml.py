"""The reader of LIDC's XML: results and errors."""

import io
import random
import tarfile
import time
from pathlib import Path

import pytest

from mmlesion.datasets import read_lidc_readings, read_lidc_xml
from mmlesion.datasets.sources import lidc_xml
from mmlesion.datasets.sources.lidc_consensus import (
    malignancy_label,
    match_readers,
)
from mmlesion.datasets.sources.lidc_xml import RATINGS, iterate_lidc_xml, parse_lidc_xml

ARCHIVE = (
    Path(__file__).resolve().parents[3]
    / '../shared/data/lidc/tcia-lidc-xml_all_1318.tar.xz'
).resolve()


def roi(
    z='-12.5',
    points=((10, 20), (11, 21), (10, 22), (9, 21), (10, 20)),
    inclusion='TRUE',
):
    marks = ''.join(
        f'<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>'
        for x, y in points
    )
    return (
        f'<roi><imageZposition>{z}</imageZposition><imageSOP_UID>1.2.3'
        f'</imageSOP_UID><inclusion>{inclusion}</inclusion>{marks}</roi>'
    )


def nodule(rois=None, rated=True, name='7', **ratings):
    values = {**dict.fromkeys(RATINGS, 3), **ratings}
    rated = (
        ''.join(f'<{key}>{value}</{key}>' for key, value in values.items())
        if rated
        else ''
    )
    return (
        f'<unblindedReadNodule><noduleID>{name}</noduleID><characteristics>'
        f'{rated}</characteristics>{roi() if rois is None else rois}'
        '</unblindedReadNodule>'
    )


def xml(*sessions, uid='1.3.6', namespace='http://www.nih.gov'):
    readers = ''.join(f'<readingSession>{one}</readingSession>' for one in sessions)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage '
        f'xmlns="{namespace}"><ResponseHeader><SeriesInstanceUid>{uid}'
        f'</SeriesInstanceUid></ResponseHeader>{readers}</LidcReadMessage>'
    ).encode()


def test_ratings_outlines_and_readers_are_read():
    hole = roi(points=((10, 21), (11, 21)), inclusion='FALSE')
    reading = parse_lidc_xml(
        xml(nodule(malignancy=5) + nodule(rois=roi() + hole), '', nodule()), 'a.xml'
    )
    assert (reading.series_uid, reading.num_readers) == ('1.3.6', 3)
    assert [one.reader for one in reading.nodules] == [0, 0, 2]
    first, second, _ = reading.nodules
    assert first.ratings == {**dict.fromkeys(RATINGS, 3), 'malignancy': 5}
    assert first.contours[0].z_mm == -12.5 and first.contours[0].sop_uid == '1.2.3'
    assert first.contours[0].points_px.tolist() == [
        [10, 20],
        [11, 21],
        [10, 22],
        [9, 21],
        [10, 20],
    ]
    assert [one.included for one in second.contours] == [True, False]


def test_marks_of_small_nodules_and_of_other_things_are_left_out():
    small = nodule(rois=roi(points=((3, 4),)), rated=False)
    unrated_outline = nodule(rated=False)
    zeros_on_a_point = nodule(rois=roi(points=((3, 4),)), **dict.fromkeys(RATINGS, 0))
    other = '<nonNodule><nonNoduleID>9</nonNoduleID></nonNodule>'
    reading = parse_lidc_xml(
        xml(small + unrated_outline + zeros_on_a_point + other), 'a.xml'
    )
    assert reading.nodules == () and reading.num_readers == 1
    # Where they are is known, of nodules only
    assert reading.left_out_z_mm == (-12.5,)
    assert parse_lidc_xml(xml(nodule() + other), 'a.xml').left_out_z_mm == ()


def test_a_chest_x_ray_is_none_and_the_namespace_does_not_matter():
    assert (
        parse_lidc_xml(b'<IdriReadMessage xmlns="http://www.nih.gov/idri"/>', 'a.xml')
        is None
    )
    assert len(parse_lidc_xml(xml(nodule(), namespace=''), 'a.xml').nodules) == 1


LAUGHS = (
    b'<?xml version="1.0"?>\n<!DOCTYPE l [<!ENTITY a "ha">'
    + b''.join(
        b'<!ENTITY %c "%s">' % (98 + n, b'&%c;' % (97 + n) * 10) for n in range(12)
    )
    + b']>\n<LidcReadMessage>&m;</LidcReadMessage>'
)


@pytest.mark.parametrize(
    'content, sentence',
    [
        (b'', 'line 1: the XML is malformed or truncated'),
        (b'\x00\x01\x02', 'line 1: the XML is malformed or truncated'),
        (xml(nodule())[:-9], 'line 2: the XML is malformed or truncated'),
        (b'<html/>', r"expected an XML of LIDC-IDRI .* but it is a 'html'"),
        (xml(nodule(), uid=' '), 'does not name its series'),
        (LAUGHS, 'line 2: a document type declaration'),
        (LAUGHS.decode().encode('utf-16'), 'line 2: a document type declaration'),
        (
            b'<!DOCTYPE l SYSTEM "file:///etc/hostname"><l/>',
            'a document type declaration',
        ),
        (b'<?xml version="1.0" encoding="none-such"?><a/>', 'line 1: the XML'),
        (b'<?xml version="1.0" encoding="shift_jis"?><a/>', 'line 1: the XML'),
        (b'<a>' * 100_000, 'the XML is malformed or truncated'),
        (
            xml(nodule(malignancy=6)),
            "nodule '7' of reader 1: malignancy must be from 1 to 5, but is 6",
        ),
        (
            xml('', nodule(margin='')),
            "of reader 2: margin must be a whole number, but is ''",
        ),
        (xml(nodule(margin='1_0')), "margin must be a whole number, but is '1_0'"),
        (
            xml(nodule(rois=roi(z='nan'))),
            "imageZposition must be a number in mm, but is 'nan'",
        ),
        (xml(nodule(rois=roi(inclusion=''))), 'inclusion must be TRUE or FALSE'),
        (
            xml(nodule(rois=roi() + roi(points=()))),
            'the outline at z = -12.5 has no point',
        ),
        (
            xml(nodule(rois=roi(points=((5, -1), (5, 2))))),
            'yCoord must be a whole number',
        ),
        (
            xml(nodule(rois=roi(points=((5, 4096), (5, 2))))),
            r'the point \(5, 4096\) is '
            'outside any image',
        ),
        (xml(nodule(rois=roi(inclusion='FALSE'))), 'there are only holes'),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_file(content, sentence):
    begin = time.process_time()
    with pytest.raises(ValueError, match=sentence) as error:
        parse_lidc_xml(content, 'some/a.xml')
    assert str(error.value).startswith('some/a.xml: ')
    assert '\n' not in str(error.value)
    assert time.process_time() - begin < 5


def test_deep_nesting_and_a_huge_file_do_not_hang():
    deep = b'<LidcReadMessage>' + b'<a>' * 200_000 + b'</a>' * 200_000
    with pytest.raises(ValueError, match='does not name its series'):
        parse_lidc_xml(deep + b'</LidcReadMessage>', 'a.xml')
    with pytest.raises(ValueError, match='the limit is 32 MiB'):
        parse_lidc_xml(b' ' * (2**25 + 1), 'a.xml')


def test_flipped_bytes_and_cuts_give_a_reading_or_a_sentence():
    content = xml(*[nodule(roi(points=[(x, y) for x in (5, 9) for y in (4, 8)]))] * 4)
    generator = random.Random(0)
    said = 0
    for _ in range(1500):
        broken = bytearray(content)
        for _ in range(generator.randint(1, 3)):
            kind, place = generator.randrange(4), generator.randrange(len(broken))
            if kind == 0:
                broken[place] ^= 1 << generator.randrange(8)
            elif kind == 1:
                del broken[place : place + generator.randint(1, 40)]
            elif kind == 2:
                broken[place:place] = generator.randbytes(generator.randint(1, 8))
            else:
                broken = broken[: max(1, place)]
        try:
            reading = parse_lidc_xml(bytes(broken), 'a.xml')
        except ValueError as error:
            said += 1
            assert str(error).startswith('a.xml: ') and '\n' not in str(error)
        else:
            assert reading is None or reading.series_uid
    assert said > 500


def write_archive(path, files, mode='w:xz'):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_folders_and_archives_are_read_alike(tmp_path):
    files = {
        'x/1.xml': xml(nodule()),
        'x/2.xml': xml('', uid='2'),
        'x/read.txt': b'.',
        'x/3.xml': b'<IdriReadMessage/>',
    }
    for name, content in files.items():
        (tmp_path / 'folder' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'folder' / name).write_bytes(content)
    for suffix, mode in (('tar', 'w'), ('tar.gz', 'w:gz'), ('tar.xz', 'w:xz')):
        write_archive(tmp_path / f'all.{suffix}', files, mode)
        readings = read_lidc_readings(tmp_path / f'all.{suffix}')
        assert {uid: len(one.nodules) for uid, one in readings.items()} == {
            '1.3.6': 1,
            '2': 0,
        }
    assert read_lidc_readings(tmp_path / 'folder').keys() == {'1.3.6', '2'}
    assert read_lidc_xml(tmp_path / 'folder/x/1.xml').source.endswith('1.xml')


def test_copies_count_once_and_contradictions_are_said(tmp_path):
    write_archive(
        tmp_path / 'a.tar.xz', {'1.xml': xml(nodule()), '2.xml': xml(nodule(name='8'))}
    )
    assert len(read_lidc_readings(tmp_path / 'a.tar.xz')['1.3.6'].nodules) == 1
    write_archive(
        tmp_path / 'b.tar.xz', {'1.xml': xml(nodule()), '2.xml': xml(nodule(margin=1))}
    )
    with pytest.raises(
        ValueError, match='2.xml: it differs from .*1.xml, which belongs to'
    ):
        read_lidc_readings(tmp_path / 'b.tar.xz')


def test_missing_and_broken_archives_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such file'):
        read_lidc_readings(tmp_path / 'a.xml')
    with pytest.raises(FileNotFoundError, match='contains no XML file'):
        read_lidc_readings(tmp_path)
    write_archive(tmp_path / 'a.tar.xz', {'1.xml': xml(nodule()) + b' ' * 5000})
    content = (tmp_path / 'a.tar.xz').read_bytes()
    (tmp_path / 'b.tar.xz').write_bytes(content[: len(content) // 2])
    (tmp_path / 'c.tar').write_bytes(b'no archive')
    for name in ('b.tar.xz', 'c.tar'):
        with pytest.raises(ValueError, match=f'{name}: the archive is damaged'):
            read_lidc_readings(tmp_path / name)


@pytest.mark.skipif(
    not ARCHIVE.is_file(), reason='the XML release of LIDC-IDRI is not there'
)
def test_the_official_release_has_1018_series_and_7030_nodules(monkeypatch):
    readings = list(iterate_lidc_xml(ARCHIVE))
    assert len({one.series_uid for one in readings}) == 1018
    assert sum(len(one.nodules) for one in readings) == 7030
    # 17 files are copies of others; with each series once:
    assert len(readings) == 1035
    # The archive is read only once, because this takes long.
    monkeypatch.setattr(lidc_xml, 'iterate_lidc_xml', lambda path: iter(readings))
    once = read_lidc_readings(ARCHIVE)
    assert len(once) == 1018
    assert sum(len(one.nodules) for one in once.values()) == 6860
    # Armato et al., 2011: 2,669 nodules by at least one reader, 928 by all four;
    # Lei et al.: 635 benign and 510 malignant.
    groups = [group for one in once.values() for group in match_readers(one.nodules)]
    labels = [malignancy_label(group) for group in groups]
    assert len(groups) == 2673
    assert sum(len(group) >= 4 for group in groups) == 908
    assert (labels.count(0), labels.count(1)) == (665, 532)

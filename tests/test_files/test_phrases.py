"""Numbers with their nouns in messages."""

import pytest

from mmlesion.files import counted


@pytest.mark.parametrize(
    'number, text', [(0, '0 images'), (1, '1 image'), (2, '2 images')]
)
def test_counted(number, text):
    assert counted(number, 'image') == text


def test_counted_with_an_irregular_plural():
    assert counted(1, 'series', 'series') == '1 series'
    assert counted(3, 'series', 'series') == '3 series'
    assert counted(2, 'box', 'boxes') == '2 boxes'

"""A small data set in DeepLesion's layout."""

import csv

import numpy as np
import pytest

from mmlesion.ct import write_png_hu
from mmlesion.datasets.sources.deeplesion_csv import REQUIRED_COLUMNS

ROW = dict(
    File_name='000001_01_01_010.png',
    Patient_index='1',
    Key_slice_index='10',
    Bounding_boxes='11, 13, 31, 43',
    Lesion_diameters_Pixel_='25, 12.5',
    Coarse_lesion_type='5',
    Possibly_noisy='0',
    Slice_range='6, 14',
    Spacing_mm_px_='0.8, 0.8, 5',
    Image_size='64, 64',
    Train_Val_Test='1',
)


class TinyDeepLesion:
    """Writes rows and slices; all paths below ``root``."""

    def __init__(self, root):
        self.root = root
        self.rows = []

    def add(self, series='000001_01_01', key_slice=10, **fields):
        """Add a row: the one above, with these fields changed."""
        self.rows.append(
            dict(
                ROW,
                File_name=f'{series}_{key_slice:03d}.png',
                Key_slice_index=str(key_slice),
                Patient_index=str(int(series[:6])),
                **fields,
            )
        )
        return self

    def write(self, columns=REQUIRED_COLUMNS):
        """Write the csv; its path."""
        path = self.root / 'DL_info.csv'
        with open(path, 'w', newline='') as file:
            writer = csv.DictWriter(file, columns, extrasaction='ignore')
            writer.writeheader()
            writer.writerows(self.rows)
        return path

    def write_slices(
        self, series='000001_01_01', numbers=range(6, 15), size=64, seed=0
    ):
        """Write slices with a body in them; {number: HU}."""
        generator = np.random.default_rng(seed)
        folder = self.root / 'Images_png' / series
        folder.mkdir(parents=True, exist_ok=True)
        slices = {}
        for number in numbers:
            slice_hu = generator.integers(-1024, -900, (size, size))
            slice_hu[8:52, 5:60] = generator.integers(-100, 300, (44, 55))
            slices[number] = slice_hu.astype(np.int16)
            write_png_hu(folder / f'{number:03d}.png', slice_hu)
        return slices


@pytest.fixture
def tiny(tmp_path):
    """An empty one."""
    return TinyDeepLesion(tmp_path)

"""CT simulator that writes data sets in their official layouts.

It needs numpy, SciPy and OpenCV, and SimpleITK to write files.
"""

from .body import Enhancement, Patient, Region
from .canvas import Canvas
from .deeplesion import PHANTOM_VERSION, write_deeplesion
from .focus import Focus, paint_focus
from .lidc import LIDC_PHANTOM_VERSION, NoduleScan, simulate_nodule_scan, write_lidc
from .mimics import MIMICS
from .node21 import Thorax, project_thorax, simulate_radiograph, write_node21
from .noise import correlated_noise, smooth_texture
from .pathology import SIGNS
from .place import Layout, draw_focus, make_vessel, place_foci
from .scan import Protocol, Scan, paint_anatomy, simulate_scan
from .sign_course import Course, draw_course
from .sign_scan import SignScan, simulate_sign_scan
from .signs import write_signs
from .whole_scans import (
    SCANS_PHANTOM_VERSION,
    WholeScan,
    simulate_whole_scan,
    write_scans,
)

__all__ = [
    'LIDC_PHANTOM_VERSION',
    'MIMICS',
    'PHANTOM_VERSION',
    'SCANS_PHANTOM_VERSION',
    'SIGNS',
    'Canvas',
    'Course',
    'Enhancement',
    'Focus',
    'Layout',
    'NoduleScan',
    'Patient',
    'Protocol',
    'Region',
    'Scan',
    'SignScan',
    'Thorax',
    'WholeScan',
    'correlated_noise',
    'draw_course',
    'draw_focus',
    'make_vessel',
    'paint_anatomy',
    'paint_focus',
    'place_foci',
    'project_thorax',
    'simulate_nodule_scan',
    'simulate_radiograph',
    'simulate_scan',
    'simulate_sign_scan',
    'simulate_whole_scan',
    'smooth_texture',
    'write_deeplesion',
    'write_lidc',
    'write_node21',
    'write_scans',
    'write_signs',
]

"""RoI heads and box heads."""

from .dropout_bbox_head import DropoutBBoxHead
from .lesion_type_roi_head import LesionTypeRoIHead
from .ps_roi_head import PSRoIHead
from .ps_vote_bbox_head import PSVoteBBoxHead

__all__ = [
    'DropoutBBoxHead',
    'LesionTypeRoIHead',
    'PSRoIHead',
    'PSVoteBBoxHead',
]

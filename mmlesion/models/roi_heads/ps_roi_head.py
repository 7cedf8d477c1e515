"""R-FCN head."""

from mmdet.models.roi_heads import StandardRoIHead
from torch import Tensor, nn

from mmlesion.ops import ps_roi_align, ps_roi_pool
from mmlesion.registry import MODELS

OPS = dict(align=ps_roi_align, pool=ps_roi_pool)


@MODELS.register_module()
class PSRoIHead(StandardRoIHead):
    """R-FCN head: position-sensitive pooling, then a box head.

    A 1x1 convolution without activation turns the features of each image into
    ``ps_channels`` * k * k score maps. Position-sensitive pooling reads k x k bins
    from the maps. The bins of the M images are concatenated and passed to the box head.
    The default box head has one fully connected layer with 2048 channels. With it, this
    class is the improved R-FCN and, for M > 1, 3DCE. With :class:`PSVoteBBoxHead` and
    ``conv_channels`` it is the original R-FCN.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural
    Network for End-to-End Lesion Detection", MICCAI 2018, Sec. 2; Dai et al.,
    "R-FCN", NIPS 2016. The authors' code has one fully connected layer; the
    text of Tao et al., MICCAI 2019, says two.

    Args:
        in_channels: Channels C of the features.
        num_images: Number of images M.
        ps_channels: Channels of a pooled bin for each image. The default 10 gives
            490 score maps.
        pool_size: k.
        featmap_stride: Input pixels per feature cell.
        roi_op: ``'align'`` (smooth) or ``'pool'`` (the quantization of the authors'
            code).
        conv_channels: Channels of a 1x1 convolution with ReLU before the score
            maps; None disables it.
        bbox_head: Config of a box head for features of (R, ``num_images`` *
            ``ps_channels``, k, k). ``in_channels`` and ``roi_feat_size`` are set by
            this class. Defaults to one
            fully connected layer of 2048 channels.
        train_cfg: As ``StandardRoIHead``.
        test_cfg: As ``StandardRoIHead``.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: a tuple of one tensor, (N, M, C, H, W) or, for M = 1,
          (N, C, H, W).

    Raises:
        ValueError: If ``roi_op`` is unknown or the features have a different
            number of images.
    """

    def __init__(
        self,
        in_channels: int,
        num_images: int = 1,
        ps_channels: int = 10,
        pool_size: int = 7,
        featmap_stride: int = 8,
        roi_op: str = 'align',
        conv_channels: int | None = None,
        bbox_head: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if roi_op not in OPS:
            raise ValueError(f'roi_op must be one of {list(OPS)}, got {roi_op!r}')
        if bbox_head is None:
            bbox_head = dict(
                type='ConvFCBBoxHead',
                num_shared_fcs=1,
                fc_out_channels=2048,
                num_classes=1,
            )
        bbox_head = dict(
            bbox_head, in_channels=num_images * ps_channels, roi_feat_size=pool_size
        )
        if init_cfg is None:
            init_cfg = dict(type='Normal', std=0.01, override=dict(name='ps_conv'))
        super().__init__(
            bbox_head=bbox_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.num_images = num_images
        self.pool_size = pool_size
        self.featmap_stride = featmap_stride
        self.roi_op = OPS[roi_op]
        ps_maps = ps_channels * pool_size**2
        if conv_channels is None:
            self.ps_conv = nn.Conv2d(in_channels, ps_maps, 1)
        else:
            self.ps_conv = nn.Sequential(
                nn.Conv2d(in_channels, conv_channels, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(conv_channels, ps_maps, 1),
            )

    def init_bbox_head(self, bbox_roi_extractor: dict | None, bbox_head: dict) -> None:
        """Build the box head. This class itself extracts the RoI features."""
        self.bbox_head = MODELS.build(bbox_head)

    def _bbox_forward(self, x: tuple[Tensor], rois: Tensor) -> dict:
        """Compute class scores and box deltas of RoIs.

        Args:
            x: One tensor, (N, M, C, H, W) or (N, C, H, W).
            rois: (R, 5), batch index and xyxy in input pixels.
        """
        (feats,) = x
        if feats.dim() == 4:
            feats = feats[:, None]  # (N, 1, C, H, W)
        if feats.shape[1] != self.num_images:
            raise ValueError(
                f'PSRoIHead was built for {self.num_images} '
                f'images, but the features have {feats.shape[1]}; set '
                'num_images of the head'
            )
        maps = self.ps_conv(feats.flatten(0, 1))  # (N*M, ps*k*k, H, W)
        maps = maps.float()  # MMCV's operators do not support bfloat16
        # Image-major channels: (N, M*ps*k*k, H, W)
        maps = maps.reshape(feats.shape[0], -1, *maps.shape[2:])
        # (R, M*ps, k, k)
        bins = self.roi_op(maps, rois, self.pool_size, 1 / self.featmap_stride)
        cls_score, bbox_pred = self.bbox_head(bins)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=bins)

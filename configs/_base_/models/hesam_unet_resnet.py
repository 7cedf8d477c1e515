# Lei et al., arXiv 1810.12494, Fig. 2.
_base_ = './nodule_classifier.py'
model = dict(
    backbone=dict(type='mmlesion.UNetResNet', in_channels=11),
    head=dict(
        type='mmlesion.HESAMHead',
        num_classes=2,
        in_channels=256,
        fusion='weight',  # Eqs. 7 and 8; 'feature' is Fig. 2
        feature_size=16,
        pool_kernel=6,  # ours: the paper states only the sizes 16 and 6
        pool_stride=2,
    ),
)

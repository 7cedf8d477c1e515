# 3DCE with contextual and spatial attention (Tao et al., MICCAI 2019).
_base_ = './3dce_vgg16.py'
model = dict(
    neck=dict(
        type='mmlesion.ContextNeck',
        in_channels=512,
        contextual=dict(temperature=2.0),  # Sec. 3
        spatial=dict(temperature=3.0),
    )
)  # Sec. 3

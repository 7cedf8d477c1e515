# configs/hesam/sam_lidc_11c.py shrunk to the generated data.
_base_ = './phantom_hesam_lidc_11c.py'
model = dict(
    head=dict(
        _delete_=True,
        type='mmlesion.SoftActivationHead',
        num_classes=2,
        in_channels=_base_.width,
    )
)

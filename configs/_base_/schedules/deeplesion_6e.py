# Schedule of 3DCE's code, also used by Tao et al., MICCAI 2019, Sec. 3.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='SGD', lr=0.001, momentum=0.9, weight_decay=5e-4
    ),  # code of 3DCE and Tao; Tao Sec. 3 says 5e-5
    clip_grad=dict(type='value', clip_value=5),  # 3DCE code, element-wise
    paramwise_cfg=dict(  # 3DCE code; shared layers of RTMDet are included once
        bias_lr_mult=2.0, bias_decay_mult=0.0, bypass_duplicate=True
    ),
)
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[4, 5], gamma=0.1)
auto_scale_lr = dict(enable=False, base_batch_size=2)

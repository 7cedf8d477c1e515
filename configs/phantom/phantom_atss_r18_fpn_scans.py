# phantom_atss_r18_early_15slice.py for whole simulated scans, trained on slices with and
# without lesions. All numbers here are ours. Data:
#
#     mmlesion phantom scans --out data/phantom/train_scans --scans 240 --size 160 --seed 1000
#     mmlesion prepare scans --lesions data/phantom/train_scans/lesions.csv \
#         --out data/phantom/scan_slices --every 6 --shares 0.95 0.05 0
_base_ = './phantom_atss_r18_early_15slice.py'
data_root = 'data/phantom/scan_slices/'
slices = dict(data_root=data_root, background_file='background.csv')
*ct_steps, ct_pack = _base_.ct_train_pipeline
train_pipeline = [
    *ct_steps,
    # images of one size, because the padding of a batch costs time as well
    dict(type='RandomCrop', crop_size=(160, 160), allow_negative_crop=True),
    ct_pack,
]
train_dataloader = dict(batch_size=16, dataset=dict(**slices, pipeline=train_pipeline))
val_dataloader = dict(dataset=slices)
test_dataloader = dict(dataset=dict(**slices, split='val'))
train_cfg = dict(max_epochs=3, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', T_max=3, convert_to_iter_based=True),
]
# rule that links the boxes of key slices to findings (mmlesion detect); chosen on 12
# validation scans
scan_link = dict(
    score_thr=0.05,
    score='mean',
    max_elongation=2.0,
    max_gap=2,
    box_margin_px=0,  # the boxes of mmlesion prepare scans
)

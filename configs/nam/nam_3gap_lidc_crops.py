# nam_2gap_lidc_crops.py with three GAPs. All numbers here are ours.
_base_ = './nam_2gap_lidc_crops.py'
model = dict(
    multi_gap=dict(backbone=dict(num_gaps=3), head=dict(in_channels=[128, 128, 128]))
)

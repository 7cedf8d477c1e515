# configs/nam/nam_3gap_lidc.py shrunk to the generated data. It needs the checkpoint of
# phantom_nam_1gap_lidc.py. All numbers here are ours.
_base_ = './phantom_nam_2gap_lidc.py'
model = dict(
    multi_gap=dict(backbone=dict(num_gaps=3), head=dict(in_channels=[64, 64, 64]))
)

# Contextual attention alone: Tao et al., MICCAI 2019, Table 3.
_base_ = '../3dce_csatt_15slice.py'
model = dict(neck=dict(spatial=None))

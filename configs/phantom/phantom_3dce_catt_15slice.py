# configs/3dce/3dce_catt_15slice.py shrunk to the generated data.
_base_ = './phantom_3dce_csatt_15slice.py'
model = dict(neck=dict(spatial=None))

# Steps of `make demo`: detection, outlines and explanations.
# Add ClassifyFindings with a checkpoint of configs/phantom/phantom_hesam_lidc_11c.py
# for malignancy.
detect = dict(
    type='DetectLesions',
    config='mmlesion::phantom/phantom_3dce_csatt_15slice.py',
    checkpoint='work_dirs/demo/best_*.pth',
)
outline = dict(type='OutlineFindings', method='candidates')
explain = dict(type='ExplainFindings', max_findings=5)
steps = [detect, outline, explain]

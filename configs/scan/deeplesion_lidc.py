# Detect (3DCE with attention), outline (candidates of NAM), classify (HESAM) and explain.
# The classifier is included in the package; the detector must be trained with the config
# named here. `outline` precedes `classify`, which cuts out its patch around the outline. A
# trained NAM network can select the candidates instead of the rule of `candidates`:
#     outline = dict(type='OutlineFindings', method='nam',
#                    config='mmlesion::nam_1gap_lidc.py', checkpoint='...')
detect = dict(
    type='DetectLesions',
    config='mmlesion::3dce_csatt_15slice.py',
    checkpoint='work_dirs/3dce_csatt_15slice/best_*.pth',
)
outline = dict(type='OutlineFindings', method='candidates')
classify = dict(
    type='ClassifyFindings',
    config='mmlesion::hesam_lidc_11c.py',
    checkpoint='mmlesion://hesam_lidc_11c',
    positive='malignant',
)
explain = dict(type='ExplainFindings', insertion_deletion=False, max_findings=10)
steps = [detect, outline, classify, explain]

# Detector of whole simulated scans, and reduction of its false positives by a 3-D network.
detect = dict(
    type='DetectLesions',
    config='configs/phantom/phantom_atss_r18_fpn_scans.py',
    checkpoint='work_dirs/phantom_atss_r18_fpn_scans/best_*.pth',
)
rescore = dict(
    type='RescoreFindings',
    config='configs/scan/candidates_3d.py',
    checkpoint='work_dirs/candidates_3d/best_*.pth',
)
steps = [detect, rescore]

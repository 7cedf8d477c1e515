# Detector of whole simulated scans, and reduction of its false positives by a 3-D network.
# Both networks are included in the package.
detect = dict(
    type='DetectLesions',
    config='mmlesion::phantom/phantom_atss_r18_fpn_scans.py',
    checkpoint='mmlesion://atss_phantom_scans',
)
rescore = dict(
    type='RescoreFindings',
    config='mmlesion::scan/candidates_3d.py',
    checkpoint='mmlesion://candidates_phantom',
)
steps = [detect, rescore]

# What all rows of Table 1 share; source: Lei et al., arXiv 1810.12494.
model = dict(
    # mmpretrain's ImageClassifier, with a temperature for tools/calibrate.py
    type='mmlesion.CalibratedClassifier',
    # of the window's 0..255: -2..2
    data_preprocessor=dict(num_classes=2, mean=[127.5], std=[63.75]),
)

# Settings shared by all rows of Table 1 of Lei et al., arXiv 1810.12494.
model = dict(
    type='ImageClassifier',
    # maps the window range 0..255 to -2..2
    data_preprocessor=dict(num_classes=2, mean=[127.5], std=[63.75]),
)

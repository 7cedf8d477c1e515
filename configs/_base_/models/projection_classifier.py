# Settings shared by all networks on projections.
model = dict(
    type='ImageClassifier',
    # ImageNet statistics, as for the pretrained weights
    data_preprocessor=dict(
        num_classes=2,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
)

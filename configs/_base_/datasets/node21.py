# NODE21: chest radiographs with and without nodules. Source: Behrendt et al.,
# Quantitative evaluation of activation maps for weakly-supervised lung nodule
# segmentation, Sec. 2.1. data/README.md explains the download.
data_root = 'data/NODE21/'
meta_keys = (
    'img_id',
    'img_path',
    'patient',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'instances',
)

pipeline = [
    dict(type='mmlesion.LoadRadiograph', channels=3),
    # "resized to a resolution of 224x224 pixels using bilinear interpolation"
    dict(type='Resize', scale=(224, 224), interpolation='bilinear'),
    # the paper mentions no augmentation
    dict(type='PackInputs', meta_keys=meta_keys),
]
dataset = dict(
    type='mmlesion.NODE21Dataset',
    data_root=data_root,
    fold=0,  # of 5; other folds: --cfg-options with the three dataset.fold settings
    num_folds=5,
    num_test=400,  # "balanced held-out test set of 400 CXRs"
    seed=0,  # ours: the authors' split is not published
    pipeline=pipeline,
)
train_dataloader = dict(
    batch_size=32,  # Sec. 2.2
    num_workers=2,
    # new workers for each epoch: a resumed training draws the same
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train'),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', test_mode=True),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='test', test_mode=True),
)

model = dict(
    type='ImageClassifier',
    # ImageNet statistics, as for the pretrained weights; the images are gray
    data_preprocessor=dict(
        num_classes=2, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
)

"""From a slice to the mask of a nodule, with a network with fixed weights."""

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='a model of classifiers of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
LUNG, NODULE, VESSEL = 25, 190, 150  # gray values: -863, 43 and -176 HU
ROWS, COLUMNS = np.mgrid[:128, :128]


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def network(num_gaps):
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmlesion.MultiGAPVGG',
            num_gaps=num_gaps,
            depth=11,
            width=4,
            branch_channels=4,
        ),
        head=dict(
            type='mmlesion.MultiGAPHead', num_classes=2, in_channels=[4] * num_gaps
        ),
    )


def build(multi_gap=None, **kwargs):
    return MODELS.build(
        dict(
            type='mmlesion.NAMSegmentor',
            classifier=network(1),
            multi_gap=multi_gap,
            data_preprocessor=dict(
                type='ClsDataPreprocessor', num_classes=2, mean=MEAN, std=STD
            ),
            **kwargs,
        )
    ).eval()


def see_brightness(classifier):
    """Weights of a network that passes on how much brighter than lung a place is."""
    with torch.no_grad():
        for name, parameter in classifier.named_parameters():
            parameter.zero_()
            if name.endswith('conv.weight'):
                parameter[0, 0, 1, 1] = 1.0
            if name == 'backbone.features.0.conv.bias':
                parameter[0] = -(40 - MEAN[0]) / STD[0]
        classifier.head.fc.weight[:, 0] = torch.tensor([-1.0, 1.0])
    return classifier


def draw(*places):
    image = np.full((128, 128), LUNG, np.uint8)
    for y, x, radius, gray in places:
        image[np.hypot(ROWS - y, COLUMNS - x) <= radius] = gray
    return torch.from_numpy(image)[None]


def data_of(*images):
    return dict(
        inputs=list(images), data_samples=[DataSample().set_gt_label(1) for _ in images]
    )


def disc(y, x, radius):
    return torch.from_numpy(np.hypot(ROWS - y, COLUMNS - x) <= radius)


def test_the_nodule_and_not_the_vessel_beside_it():
    model = build(level=0.1)
    see_brightness(model.classifier)
    (sample,) = model.test_step(data_of(draw((60, 60, 6, NODULE), (60, 74, 3, VESSEL))))
    assert int(sample.pred_label) == 1 and sample.pred_score.shape == (2,)
    assert sample.map.shape == (128, 128) and sample.scope[60, 60]
    both = disc(60, 60, 6) | disc(60, 74, 3)
    assert torch.equal(sample.coarse_mask, both)
    assert torch.equal(sample.fine_mask, disc(60, 60, 6))
    assert len(sample.nodule_masks) == 1


def test_the_choice_is_that_of_whole_images_painted_over():
    """Eq. 4 by brute force, of a random network."""
    model = build(level=0.05, prominence=0.9)
    model.init_weights()
    with torch.no_grad():  # positive whatever the slice
        model.classifier.head.fc.weight[0] = -model.classifier.head.fc.weight[1]
        model.classifier.head.fc.weight.abs_()
        model.classifier.head.fc.weight[0] *= -1
    image = draw(
        (60, 60, 5, NODULE),
        (60, 76, 4, VESSEL),
        (76, 62, 4, VESSEL),
        (45, 52, 3, NODULE),
    )
    (sample,) = model.test_step(data_of(image))
    from scipy import ndimage

    parts, count = ndimage.label(sample.coarse_mask.numpy(), np.ones((3, 3)))
    assert count > 1

    def nodule_map(each):
        batch = model.data_preprocessor(dict(inputs=[each]))['inputs']
        feats = model.classifier.extract_feat(batch)
        maps = model.classifier.head.activation_maps(feats)[:, 1:]
        return torch.nn.functional.interpolate(maps, (128, 128), mode='bilinear')[0, 0]

    changes = []
    with torch.no_grad():
        for index in range(1, count + 1):
            painted = image.float()
            painted[0, torch.from_numpy(parts == index)] = LUNG
            change = (nodule_map(image) - nodule_map(painted))[sample.scope]
            changes.append(float(change.square().sum()))
    chosen = torch.from_numpy(parts == 1 + int(np.argmax(changes)))
    assert torch.equal(sample.fine_mask, chosen)


def test_two_nodules_by_two_blobs():
    model = build(num_nodules=2, level=0.2)
    see_brightness(model.classifier)
    (sample,) = model.test_step(data_of(draw((30, 30, 6, NODULE), (90, 90, 5, VESSEL))))
    first, second = sample.nodule_masks
    assert torch.equal(first, disc(30, 30, 6)) and torch.equal(sample.fine_mask, first)
    assert torch.equal(second, disc(90, 90, 5))


def test_a_finer_map_narrows_the_scope():
    model = build(multi_gap=network(3), level=0.1)
    see_brightness(model.classifier)
    with torch.no_grad():
        for name, parameter in model.multi_gap.named_parameters():
            parameter.zero_()
            if name.endswith('conv.weight'):
                parameter[0, 0, 1, 1] = 1.0
            if name == 'backbone.features.0.conv.bias':
                parameter[0] = -(40 - MEAN[0]) / STD[0]
        # of the three branches the finest alone
        model.multi_gap.head.fc.weight[1, 0] = 1.0
    image = draw((60, 60, 6, NODULE), (60, 76, 3, VESSEL))
    (fine,) = model.test_step(data_of(image))
    (wide,) = see_and_build_one_gap().test_step(data_of(image))
    assert fine.scope.sum() < wide.scope.sum() / 2
    assert not (fine.scope & ~wide.scope).any()
    assert torch.equal(fine.coarse_mask, disc(60, 60, 6))
    assert wide.coarse_mask.sum() > fine.coarse_mask.sum()
    torch.testing.assert_close(fine.map, wide.map)


def see_and_build_one_gap():
    model = build(level=0.1)
    see_brightness(model.classifier)
    return model


def test_outcomes_without_a_nodule():
    model = see_and_build_one_gap()
    dark = torch.full((1, 128, 128), 0, dtype=torch.uint8)
    with torch.no_grad():
        model.classifier.head.fc.weight[:, 1] = torch.tensor([0.5, 0.0])
        model.classifier.backbone.branches[0].conv.bias[1] = 1.0
    # classified as negative
    (negative,) = model.test_step(data_of(dark))
    assert int(negative.pred_label) == 0
    # positive, but the map is flat
    with torch.no_grad():
        model.classifier.head.fc.weight[:, 1] = torch.tensor([0.0, 0.5])
    (flat,) = model.test_step(data_of(dark))
    assert int(flat.pred_label) == 1
    for sample in (negative, flat):
        assert sample.nodule_masks == []
        for key in ('scope', 'coarse_mask', 'fine_mask'):
            assert not sample.get(key).any() and sample.get(key).shape == (128, 128)
    # a blob, but nothing brighter than lung in it
    faint = dark.clone()
    faint[0, 50:60, 50:60] = 42
    (nothing,) = model.test_step(data_of(faint))
    assert nothing.scope.any() and len(nothing.nodule_masks) == 1
    assert not nothing.coarse_mask.any() and not nothing.fine_mask.any()


def test_a_slice_does_not_depend_on_its_batch_mates():
    model = see_and_build_one_gap()
    images = [
        draw((60, 60, 6, NODULE), (60, 74, 3, VESSEL)),
        draw((3, 100, 5, NODULE)),
        draw(),
    ]
    together = model.test_step(data_of(*images))
    for image, expected in zip(images, together):
        # 8-bit or not, one channel or three: the same slice
        for same in (image, image.float(), image.expand(3, -1, -1)):
            (alone,) = model.test_step(data_of(same))
            assert torch.equal(alone.fine_mask, expected.fine_mask)
            torch.testing.assert_close(alone.map, expected.map)
    assert torch.equal(together[1].fine_mask, disc(3, 100, 5))


def test_training_changes_the_network_of_several_gaps_alone():
    model = build(multi_gap=network(2)).train()
    assert not model.classifier.training and model.multi_gap.training
    images = torch.randn(2, 3, 64, 64)
    samples = [DataSample().set_gt_label(label) for label in (0, 1)]
    model(images, samples, mode='loss')['loss'].backward()
    assert all(each.grad is None for each in model.classifier.parameters())
    assert all(each.grad is not None for each in model.multi_gap.parameters())
    # Validation judges it too, and segments nothing
    model.eval()
    torch.testing.assert_close(model(images), model.multi_gap(images))
    sample = model.val_step(data_of(draw()))[0]
    assert 'pred_score' in sample and 'fine_mask' not in sample
    alone = build()
    assert all(each.requires_grad for each in alone.train().parameters())


def test_bad_arguments():
    with pytest.raises(ValueError, match='num_gaps=1'):
        MODELS.build(dict(type='mmlesion.NAMSegmentor', classifier=network(2)))
    with pytest.raises(ValueError, match='num_nodules must be 1 or more'):
        build(num_nodules=0)
    with pytest.raises(ValueError, match='several must be one of'):
        build(several='both')
    with pytest.raises(ValueError, match='refine must be one of'):
        build(refine='crf')


def displace(classifier, rows):
    """Make the last convolution respond ``rows`` cells above its input."""
    weight = classifier.backbone.branches[-1].conv.weight
    with torch.no_grad():
        weight.zero_()
        weight[0, 0, 1 + rows, 1] = 1.0


def test_the_shift_of_a_displaced_map_is_fitted_without_masks():
    """The map is one cell (16 px) above the nodule; the estimated shift corrects it."""
    model = build(level=0.3)
    see_brightness(model.classifier)
    displace(model.classifier, 1)
    rng = np.random.default_rng(0)
    slices = [
        draw((*rng.integers(30, 100, 2), 5, NODULE), (64, 10, 2, VESSEL))
        for _ in range(7)
    ]
    assert model.train().fit_map_shift([*slices, draw()]) == 7 and model.training
    shift = model.map_shift_px[0].tolist()
    # Cells are 16 px wide, and a nodule touches one to four of them
    assert 10 <= shift[0] <= 28 and abs(shift[1]) <= 8
    image = draw((70, 60, 6, NODULE))
    (moved,) = model.eval().test_step(data_of(image))
    found = moved.fine_mask & disc(70, 60, 6)
    assert torch.equal(moved.fine_mask, found) and found.sum() > 40
    peak = np.unravel_index(int(moved.map.argmax()), (128, 128))
    assert abs(peak[0] - 70) <= 12
    # The shift is part of the checkpoint, and zero in checkpoints without it
    fresh = build()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.map_shift_px, model.map_shift_px)
    old = {k: v for k, v in model.state_dict().items() if k != 'map_shift_px'}
    fresh.load_state_dict(old)
    assert not fresh.map_shift_px.any()
    assert model.fit_map_shift([draw()]) == 0 and not model.map_shift_px.any()


def test_two_nodules_by_painting_over_the_first():
    """Both lie within one blob of the map, where no watershed finds two."""
    image = draw((56, 40, 6, NODULE), (56, 58, 5, VESSEL))
    found = {}
    for several in ('watershed', 'repeat'):
        model = build(num_nodules=2, several=several, level=0.3)
        see_brightness(model.classifier)
        (sample,) = model.test_step(data_of(image))
        found[several] = sample.nodule_masks
        assert len(sample.coarse_masks) == len(sample.nodule_masks)
    assert len(found['watershed']) == 1 and len(found['repeat']) == 2
    assert torch.equal(found['repeat'][0], disc(56, 40, 6))
    assert torch.equal(found['repeat'][1], disc(56, 58, 5))


def test_a_nodule_that_is_found_again_is_not_returned_again():
    """The fill value is brighter than the lung and stays within the map's blob."""
    image = draw((56, 40, 6, NODULE), (56, 58, 5, VESSEL))
    model = build(num_nodules=4, several='repeat', level=0.3, fill_hu=-400.0)
    see_brightness(model.classifier)
    (sample,) = model.test_step(data_of(image))
    (mask,) = sample.nodule_masks
    assert torch.equal(mask, disc(56, 40, 6))


def test_controls_are_added_whatever_the_class():
    model = build(chance_radius_px=12)
    see_brightness(model.classifier)
    with torch.no_grad():  # everything is negative
        model.classifier.head.fc.weight[0, 0] = 2.0
    image = draw((64, 64, 5, NODULE), (20, 100, 4, NODULE))
    (sample,) = model.test_step(data_of(image))
    assert int(sample.pred_label) == 0 and not sample.fine_mask.any()
    assert torch.equal(sample.any_fine_mask, disc(64, 64, 5))
    assert torch.equal(sample.middle_disc_mask, disc(64, 64, 5))
    both = disc(64, 64, 5) | disc(20, 100, 4)
    assert torch.equal(sample.whole_image_mask, both)
    assert not (sample.random_disc_mask & ~both).any()


def test_the_threshold_of_the_probability_decides_which_slices_are_segmented():
    image = draw((64, 64, 5, NODULE))
    model = see_and_build_one_gap()
    (sample,) = model.test_step(data_of(image))
    score = float(sample.pred_score[1])
    for threshold, segmented in ((score, True), (score + 1e-4, False)):
        model.positive_thr = threshold
        (sample,) = model.test_step(data_of(image))
        assert bool(sample.fine_mask.any()) == segmented
        assert len(sample.nodule_masks) == segmented


def test_several_gaps_start_from_the_classifier_and_keep_its_features():
    model = MODELS.build(
        dict(
            type='mmlesion.NAMSegmentor',
            classifier=network(1),
            multi_gap=network(2),
            from_classifier=True,
        )
    )
    model.init_weights()
    images = torch.randn(2, 3, 64, 64)
    model.eval()
    torch.testing.assert_close(model(images), model.classifier(images))
    samples = [DataSample().set_gt_label(label) for label in (0, 1)]
    model.train()(images, samples, mode='loss')['loss'].backward()
    trained = {n for n, p in model.named_parameters() if p.grad is not None}
    assert trained and all('branches' in name or 'head' in name for name in trained)
    assert not model.multi_gap.backbone.features.training


def test_log_odds_subtract_the_map_of_the_other_class():
    image = draw((60, 60, 6, NODULE))
    maps = {}
    for log_odds in (False, True):
        model = build(log_odds=log_odds, level=0.1)
        see_brightness(model.classifier)  # the weights of the classes are -1 and 1
        (sample,) = model.test_step(data_of(image))
        maps[log_odds] = sample.map
    torch.testing.assert_close(maps[True], 2 * maps[False])


def test_scores_of_several_gaps_are_kept():
    model = build(multi_gap=network(2), refine='opening')
    see_brightness(model.classifier)
    with torch.no_grad():
        for parameter in model.multi_gap.parameters():
            parameter.zero_()
    (sample,) = model.test_step(data_of(draw((60, 60, 6, NODULE))))
    assert sample.multi_gap_score.tolist() == [0.5, 0.5]
    assert int(sample.pred_label) == 1


class _FixedMaps:
    """Maps at a fixed offset from the brightest pixel of an image."""

    def __init__(self, offset):
        self.offset = offset

    def __call__(self, images):
        return images[:, 0].roll(self.offset, dims=(1, 2))


@pytest.mark.parametrize('shape', [(12, 12), (12, 8)])
def test_the_equivariance_loss_is_zero_only_for_maps_at_the_object(shape):
    torch.manual_seed(0)
    loss = MODELS.build(dict(type='mmlesion.MapEquivarianceLoss', loss_weight=2.0))
    images = torch.rand(3, 1, *shape) ** 8
    drawn = []
    for _ in range(30):
        for offset in ((0, 0), (2, 3)):
            maps = _FixedMaps(offset)
            drawn.append(float(loss(images, maps(images), maps)))
    assert max(drawn[::2]) < 1e-6
    assert min(drawn[1::2]) > 0.5
    # Maps of opposite sign have the largest value.
    opposite = loss(images, -images[:, 0], _FixedMaps((0, 0)))
    assert float(opposite) == pytest.approx(4.0)


def test_the_equivariance_loss_trains_the_network():
    model = build(equivariance_loss=dict(type='mmlesion.MapEquivarianceLoss')).train()
    model.init_weights()
    data = model.data_preprocessor(data_of(draw((40, 60, 6, NODULE))), True)
    losses = model(**data, mode='loss')
    plain = build().train()
    plain.load_state_dict(model.state_dict())
    assert set(losses) == {'loss', 'loss_equivariance'}
    assert losses['loss'] == plain(**data, mode='loss')['loss']
    losses['loss_equivariance'].backward()
    weight = model.classifier.backbone.features[0].conv.weight
    assert weight.grad.abs().sum() > 0


def test_the_search_ends_in_a_slice_without_further_nodules():
    counts = {}
    one, two = [(56, 40, 6, NODULE)], [(56, 40, 6, NODULE), (56, 80, 6, NODULE)]
    for next_thr in (None, 0.0, 0.505, 1.0):
        model = build(num_nodules=3, several='repeat', level=0.3, next_thr=next_thr)
        see_brightness(model.classifier)
        samples = [model.test_step(data_of(draw(*each)))[0] for each in (one, two)]
        counts[next_thr] = [len(sample.nodule_masks) for sample in samples]
        assert torch.equal(samples[1].nodule_masks[0], samples[1].fine_mask)
    assert counts[None] == counts[0.0]
    assert counts[1.0] == [1, 1]
    assert counts[0.505] == [1, 2]


def test_soft_activation_map_of_the_trained_network():
    """The model has two heads. The map is that of the head that computes the scores."""
    from mmlesion.attribution import HESAM

    torch.manual_seed(0)
    model = build(network(2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    batch = torch.rand(1, 3, 64, 64)
    found = HESAM(model, score='logit')(batch, 1)[0, 0]
    with torch.no_grad():
        feats = model.multi_gap.extract_feat(batch)
        expected = model.multi_gap.head.activation_maps(feats)[0, 1]
    found = found if found.shape == expected.shape else found[::4, ::4]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)

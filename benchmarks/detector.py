"""Benchmark of the detectors on a GPU: training, inference, memory, mixed precision.

For each config, the rows contain the training rate and the peak memory in float16 and
in bfloat16 (the peer is single precision), and the time of one key slice. All configs
are trained by SGD with momentum; the AdamW of their recipes needs more memory. The
images are random and have 296 x 344 pixels, the typical size of DeepLesion after
cropping and resizing; the 15-slice detector is also measured with 512 x 512, the
largest. Published values for 15 slices: 5.5 samples/s in training and 71 ms per key
slice on one GPU of unknown type (public log of the authors' MXNet code).

The last rows compare FROC in float16 and bfloat16 with FROC in single precision, for
the trained detector of generated data (``mmlesion://csatt_phantom_15slice``) on 40
generated key slices. On a CPU, ``run('cpu', ...)`` measures single precision and
bfloat16.
"""

import copy
import logging
import tempfile
import time

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, DefaultScope, init_default_scope
from mmengine.structures import InstanceData

SIZE, LARGE = (296, 344), (512, 512)
#: Config, slices of one image, and sizes of the images.
DETECTORS = (
    ('configs/3dce/rfcn_3slice.py', 3, (SIZE,)),
    ('configs/3dce/3dce_15slice.py', 15, (SIZE,)),
    ('configs/3dce/3dce_csatt_9slice.py', 9, (SIZE,)),
    ('configs/3dce_csatt_15slice.py', 15, (SIZE, LARGE)),
    ('configs/3dce/3dce_csatt_21slice.py', 21, (SIZE,)),
    ('configs/modern/context_rcnn_r50_fpn_15slice.py', 15, (SIZE,)),
    ('configs/modern/faster_rcnn_r50_fpn_a3d_9slice.py', 9, (SIZE,)),
    ('configs/modern/rtmdet_s_15slice.py', 15, (SIZE,)),
)
TARGETS = {('configs/3dce_csatt_15slice.py', SIZE): ('>= 55', '<= 10')}
BATCH = 8


def build(config, device):
    """Build a detector with random weights."""
    from mmdet.utils import register_all_modules

    from mmlesion.engine.hooks.float32_boxes_hook import cast_head_outputs
    from mmlesion.engine.model_building import build_untrained_model

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('mmdet'):
        logging.disable(logging.INFO)
        model = build_untrained_model(cfg)
        logging.disable(logging.NOTSET)
    cast_head_outputs(model)  # as in training with mixed precision
    return model.to(device)


def samples(number, height, width, device, num_slices=15):
    """Return packed samples with one lesion each."""
    from mmdet.structures import DetDataSample

    found = dict(inputs=[], data_samples=[])
    for _ in range(number):
        image = torch.randint(-1000, 1000, (num_slices, height, width))
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[60.0, 60.0, 100.0, 110.0]], device=device),
            labels=torch.zeros(1, dtype=torch.long, device=device),
        )
        found['inputs'].append(image.to(torch.int16).to(device))
        found['data_samples'].append(sample)
    return found


def seconds_per_call(function, device, repeats=20):
    """Return the mean seconds of ``repeats`` calls after three that are not timed."""
    for i in range(3 + repeats):
        if i == 3:
            if device == 'cuda':
                torch.cuda.synchronize()
            started = time.perf_counter()
        function()
    if device == 'cuda':
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def training_step(model, optimizer, batch, dtype, device):
    """Return a function that runs a training step."""
    enabled = dtype is not torch.float32
    scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16)

    def step():
        with torch.autocast(device, dtype if enabled else None, enabled=enabled):
            packed = model.data_preprocessor(copy.copy(batch), True)
            loss, _ = model.parse_losses(model(**packed, mode='loss'))
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_value_(model.parameters(), 5)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def precisions(device):
    """Return the types of mixed precision that a device supports."""
    return (torch.float16, torch.bfloat16) if device == 'cuda' else (torch.bfloat16,)


def training_rows(name, model, batch, device, repeats, target):
    """Return the rows of training rate and peak memory."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-5, 0.9)
    model.train()
    seconds, peak = {}, {}
    for dtype in (torch.float32, *precisions(device)):
        if device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        step = training_step(model, optimizer, batch, dtype, device)
        seconds[dtype] = seconds_per_call(step, device, repeats)
        if device == 'cuda':
            peak[dtype] = torch.cuda.max_memory_allocated() / 2**20
    number = len(batch['inputs'])
    rows = []
    for dtype in precisions(device):
        kind = str(dtype).rpartition('.')[2]
        rows.append(
            dict(
                what=f'{name}: training, batch {number}, {kind}',
                ours=number / seconds[dtype],
                peer=number / seconds[torch.float32],
                unit='samples/s',
                ratio=seconds[torch.float32] / seconds[dtype],
                peer_name='the same in single precision',
                target=target if dtype is torch.float16 else None,
            )
        )
        if peak:
            rows.append(
                dict(
                    what=f'- peak memory, {kind}',
                    ours=peak[dtype],
                    peer=peak[torch.float32],
                    unit='MiB',
                    ratio=peak[torch.float32] / peak[dtype],
                    peer_name='the same in single precision',
                    target=None,
                )
            )
    return rows


def inference_row(name, model, batch, device, repeats, target):
    """Return the row of the time of one key slice in mixed precision."""
    model.eval()
    dtype = precisions(device)[0]

    def predict():
        with torch.no_grad(), torch.autocast(device, dtype):
            model.test_step(copy.copy(batch))

    return dict(
        what=f'{name}: inference, one key slice, {str(dtype).rpartition(".")[2]}',
        ours=seconds_per_call(predict, device, repeats) * 1e3,
        peer=None,
        unit='ms',
        ratio=None,
        peer_name=None,
        target=target,
    )


def detector_rows(config, num_slices, size, device, batch_size, repeats):
    """Return the rows of one config and one size of images."""
    name = f'{config.rpartition("/")[2][:-3]}, {size[0]}x{size[1]}'
    rate, duration = TARGETS.get((config, size), (None, None))
    model = build(config, device)
    batch = samples(batch_size, *size, device, num_slices)
    rows = training_rows(name, model, batch, device, repeats, rate)
    one = samples(1, *size, device, num_slices)
    return [*rows, inference_row(name, model, one, device, repeats, duration)]


def froc_rows(device, key_slices=40):
    """Return one row per type of mixed precision: FROC against single precision."""
    from mmlesion.engine.hooks.float32_boxes_hook import cast_head_outputs
    from mmlesion.engine.trained_model import load_trained_model
    from mmlesion.phantom import write_deeplesion

    cfg = Config.fromfile('configs/phantom/phantom_3dce_csatt_15slice.py')
    model = load_trained_model(cfg, 'mmlesion://csatt_phantom_15slice', device)
    cast_head_outputs(model)
    init_default_scope('mmdet')
    dataset_cfg = cfg.test_dataloader.dataset
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset_cfg.data_root = str(
            write_deeplesion(f'{folder}/data', 1, 1, key_slices, size=160, seed=5)
        )
        dataset = DATASETS.build(dataset_cfg)
        for dtype in (torch.float32, *precisions(device)):
            enabled = dtype is not torch.float32
            metric = METRICS.build(cfg.test_evaluator)
            metric.dataset_meta = dataset.metainfo
            for data in dataset:
                batch = {key: [value] for key, value in data.items()}
                with (
                    torch.no_grad(),
                    torch.autocast(device, dtype if enabled else None, enabled=enabled),
                ):
                    results = model.test_step(batch)
                metric.process({}, [each.to_dict() for each in results])
            found[dtype] = metric.evaluate(len(dataset))
    key = 'froc/sens@4'
    return [
        dict(
            what=f'sensitivity at 4 FP, {str(dtype).rpartition(".")[2]}',
            ours=100 * found[dtype][key],
            peer=100 * found[torch.float32][key],
            unit='%',
            ratio=None,
            peer_name='the same in single precision',
            target=None,
            note=f'largest difference of the sensitivities at 0.5 to 16 FP: '
            f'{100 * _largest_difference(found[dtype], found[torch.float32]):.1f} '
            f'points, {len(dataset)} key slices',
        )
        for dtype in precisions(device)
    ]


def _largest_difference(ours, peer):
    names = [name for name in peer if '/sens@' in name]
    return max(abs(ours[name] - peer[name]) for name in names)


def run(device='cuda', detectors=DETECTORS, batch_size=BATCH, repeats=20):
    """Return the rows of all detectors and of FROC."""
    if device == 'cuda' and not torch.cuda.is_available():
        raise RuntimeError('the full detectors are measured on a GPU only')
    rows = [
        row
        for config, num_slices, sizes in detectors
        for size in sizes
        for row in detector_rows(config, num_slices, size, device, batch_size, repeats)
    ]
    return rows + froc_rows(device)

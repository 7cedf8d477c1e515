"""Benchmark of phases of a slice against a loop over pixels and DIPY's sweep.

The input is a simulated 384 x 384 slice with a nodule and four phases. All functions
run in turns in one process, and the minimum CPU time of each is used.
"""

import numpy as np

from mmlesion.phantom import Patient, simulate_nodule_scan
from mmlesion.segmentation import phase_means, segment_phases

from .attribution import fastest

SMOOTHNESS = 100.0**2
PART = 64  # size of the part for the slow loop over pixels


def loop_over_pixels(image, means):
    """Run a direct implementation of iterated conditional modes."""
    height, width = image.shape
    data = [
        [[(value - mean) ** 2 for mean in means] for value in row]
        for row in image.tolist()
    ]
    labels = [
        [min(range(len(means)), key=cell.__getitem__) for cell in row] for row in data
    ]
    changed = True
    while changed:
        changed = False
        for y in range(height):
            for x in range(width):
                energy = list(data[y][x])
                for v in range(max(y - 1, 0), min(y + 2, height)):
                    for u in range(max(x - 1, 0), min(x + 2, width)):
                        if (v, u) != (y, x):
                            weight = 1.0 if v == y or u == x else 2**-0.5
                            energy[labels[v][u]] -= SMOOTHNESS * weight
                best = min(range(len(means)), key=energy.__getitem__)
                if energy[best] < energy[labels[y][x]]:
                    labels[y][x] = best
                    changed = True
    return np.array(labels)


def dipy_sweeps(image, means, sweeps):
    """Run a number of DIPY's sweeps (6 neighbors in 3-D, here 4, one weight)."""
    from dipy.segment.mrf import ConstantObservationModel, IteratedConditionalModes

    model, modes = ConstantObservationModel(), IteratedConditionalModes()
    volume = image[..., None].astype(float)
    variance = np.full(len(means), SMOOTHNESS)

    def run():
        cost = model.negloglikelihood(volume, means, variance, len(means))
        labels = modes.initialize_maximum_likelihood(cost)
        for _ in range(sweeps):
            labels, _ = modes.icm_ising(cost, 0.5, labels)
        return labels

    return run


def run():
    rng = np.random.default_rng(0)
    scan = simulate_nodule_scan(Patient(rng), rng, size=384)
    middle = scan.masks[0].sum((1, 2)).argmax()
    image = scan.hu[middle].astype(np.float32)
    means = phase_means(image)
    final = segment_phases(image, means, SMOOTHNESS)
    sweeps = (
        next(
            count
            for count in range(100)
            if np.array_equal(
                segment_phases(image, means, SMOOTHNESS, max_sweeps=count), final
            )
        )
        + 1
    )
    part = image[:PART, :PART]

    whole = dict(ours=lambda: segment_phases(image, means, SMOOTHNESS))
    note = None
    try:
        whole['dipy'] = dipy_sweeps(image, means, sweeps)
    except ImportError as error:
        note = f'DIPY not measured: {error}'
    least = fastest(whole, repeats=5)
    peer = least.get('dipy')
    rows = [
        dict(
            what=f'ICM, 384 x 384, 4 phases, {sweeps} sweeps, core time',
            ours=least['ours'],
            peer=peer,
            unit='s',
            peer_name=peer and 'DIPY icm_ising, as many sweeps',
            ratio=peer and peer / least['ours'],
            target='<= 0.03',
            note=note,
        )
    ]
    least = fastest(
        dict(
            ours=lambda: segment_phases(part, means, SMOOTHNESS),
            loop=lambda: loop_over_pixels(part, means),
        ),
        repeats=3,
    )
    rows.append(
        dict(
            what=f'ICM, {PART} x {PART}, 4 phases, core time',
            ours=least['ours'],
            peer=least['loop'],
            unit='s',
            peer_name='loop over pixels',
            ratio=least['loop'] / least['ours'],
            target=None,
        )
    )
    return rows

"""Patients over several years: signs, other diseases, mimics, visits and death."""

import copy
from dataclasses import dataclass, field

import numpy as np

from mmlesion.ct.projections import LEVELS, REGIONS, SIDES

from .body import Patient
from .lung_space import LungSpace
from .mimics import ApicalCap, Bulla, Effusion
from .pathology import BACKGROUNDS, Background, Cavity, Thickening

# Fraction of the lung regions of diseased patients that contain the sign, by LEVELS. In
# Zusag et al., Table 1, it is (both sides together) 0.53, 0.09, 0.04 for cavities and
# 0.56, 0.04, 0.02 for pleural thickening. The lower levels have higher fractions here,
# so that each sign occurs in tens of scans at each level, and the height alone does not
# predict it.
_SHARES = dict(cavity=(0.5, 0.2, 0.12), pleural_thickening=(0.5, 0.15, 0.12))
# Fraction of the sufficiently large cavities that finally contain a ball. Table 1
# states 0.89, and more balls than cavities in the right upper lung. The value here
# gives about as many cavities without a ball as with a ball.
_BALL_SHARE = 0.75
# Of 276 studies: consolidation 112, bronchiectasis 86, emphysema 66, ground glass 38.
_BACKGROUND_SHARES = dict(
    consolidation=0.41, ground_glass=0.14, emphysema=0.24, bronchiectasis=0.31
)
# Fraction of patients and of controls with a mimic: assumed, so that each mimic occurs
# in many scans.
_MIMIC_SHARES = dict(pleural_effusion=0.25, bulla=0.35, apical_cap=0.3)
# Fraction of effusions and apical caps that are on both sides.
_BOTH_SIDES = 0.4


@dataclass(frozen=True)
class Sign:
    """A sign, a mimic or a background disease at a position.

    Attributes:
        region: One of :data:`mmlesion.ct.projections.REGIONS`.
        what: The object to paint.
        onset: First visit at which it is present.
        ball_onset: For a cavity, the first visit at which its ball is present. There is
            no ball if this is not below the number of visits.
    """

    region: str
    what: Cavity | Thickening | Background | Effusion | Bulla | ApicalCap
    onset: int = 0
    ball_onset: int = 0


@dataclass
class Course:
    """A patient over several years.

    Attributes:
        patient: The anatomy.
        severity: 0 to 1, 0 for a control. It determines number and size of the signs
            and of the background diseases, the rate of growth and the death.
        signs: All signs, mimics and background diseases at the last visit, in the order
            of painting. A control has no signs.
        years: Times of the visits since the first visit.
        end_years: Time of death, or last time known to be alive.
        died: Whether ``end_years`` is the time of death.
    """

    patient: Patient
    severity: float = 0.0
    signs: list[Sign] = field(default_factory=list)
    years: tuple[float, ...] = (0.0,)
    end_years: float = 0.0
    died: bool = False

    @property
    def diseased(self) -> bool:
        """Whether the patient has a sign."""
        return any(isinstance(sign.what, (Cavity, Thickening)) for sign in self.signs)

    def size(self, visit: int) -> float:
        """Return the size at a visit as a fraction of the size at the last visit."""
        before_end = self.years[-1] - self.years[visit]
        return float(max(0.7, 1 - (0.02 + 0.08 * self.severity) * before_end))

    def survival(self, visit: int) -> int | None:
        """Return 1 if dead within two years, 0 if alive, None if unknown or a control.

        Source: Zusag et al., Sec. 3.3: scans in the two years before death, and
        scans of survivors more than two years before the last contact.
        """
        left = self.end_years - self.years[visit]
        if not self.diseased or (left < 2) != self.died:
            return None
        return int(self.died)


def draw_course(
    patient: Patient, rng: np.random.Generator, diseased: bool, max_visits: int = 8
) -> Course:
    """Draw the diseases of a patient and the times of scans and death.

    Patients have 1 to 8 scans (Zusag et al., Sec. 1.1), controls have one scan. The
    probability of death increases with the severity, and so do the number and size of
    the visible signs and other diseases.

    Controls have other diseases and mimics as often as patients, so that these do not
    tell patients from controls. Mimics do not depend on the severity.

    Args:
        patient: The anatomy.
        rng: Random number generator.
        diseased: False for a control.
        max_visits: Maximum number of scans.

    Raises:
        RuntimeError: If no sign fits into the lungs.
    """
    space = LungSpace(patient)
    fluid, mimics = _place_mimics(space, rng)
    if not diseased:
        others = _place_backgrounds(space, float(rng.uniform()), rng)
        return Course(patient, signs=fluid + others + mimics)
    severity = float(rng.uniform())
    visits = min(int(rng.geometric(0.36)), max_visits)
    years = tuple(np.cumsum([0, *rng.uniform(0.4, 2.2, visits - 1)]).tolist())
    died = bool(rng.random() < 1 / (1 + np.exp(-16 * (severity - 0.5))))
    end = years[-1] + (rng.uniform(0.1, 1.9) if died else rng.uniform(1.5, 6))
    for _ in range(50):
        tried = copy.copy(space)
        signs = _place_signs(tried, severity, visits, rng)
        if signs:
            others = _place_backgrounds(tried, severity, rng)
            signs = fluid + others + mimics + signs
            return Course(patient, severity, signs, years, float(end), died)
    raise RuntimeError('no sign fits into the lungs')


def _place_mimics(
    space: LungSpace, rng: np.random.Generator
) -> tuple[list[Sign], list[Sign]]:
    """Return the effusions, which are painted first, and the other mimics."""
    there = {kind: rng.random() < share for kind, share in _MIMIC_SHARES.items()}
    fluid, others = [], []
    if there['pleural_effusion']:
        for side, sign in _sides(rng):
            what = Effusion.draw(sign, space.scale, rng)
            space.block(what)
            fluid.append(Sign(f'{side}_lower', what))
    if there['bulla']:
        # As high in the lungs as the cavities, and of the same size.
        shares = np.repeat([_SHARES['cavity']], len(SIDES), 0).ravel()
        for _ in range(int(rng.integers(1, 4))):
            region = str(rng.choice(REGIONS, p=shares / shares.sum()))
            radius = _cavity_radius(rng.uniform())
            place = space.find(space.depth > 0.5 * radius, region, radius, rng)
            if place is None:
                continue
            space.taken += ((place, radius),)
            aspect = tuple(rng.uniform(0.8, 1, 3).tolist())
            others.append(Sign(region, Bulla(tuple(place.tolist()), radius, aspect)))
    if there['apical_cap']:
        for side, sign in _sides(rng):
            what = ApicalCap.draw(sign, space.scale, rng)
            others.append(Sign(f'{side}_upper', what))
    return fluid, others


def _sides(rng: np.random.Generator) -> list[tuple[str, int]]:
    """Return names and directions of one side or both sides."""
    both: list[tuple[str, int]] = list(zip(SIDES, (1, -1)))
    return both if rng.random() < _BOTH_SIDES else [both[rng.integers(2)]]


def _extent(severity: float, rng: np.random.Generator) -> float:
    """Return a size of a sign from 0 to 1, which depends on severity and chance."""
    return 0.8 * severity + 0.2 * float(rng.uniform())


def _cavity_radius(extent: float) -> float:
    return 14 * (30 / 14) ** extent


def _place_signs(
    space: LungSpace, severity: float, visits: int, rng: np.random.Generator
) -> list[Sign]:
    signs = []
    more = 0.1 + 1.8 * severity

    def onset() -> int:
        return 0 if rng.random() < 0.75 else int(rng.integers(visits))

    for region in rng.permutation(REGIONS):
        level = LEVELS.index(region.split('_')[1])
        if rng.random() < more * _SHARES['pleural_thickening'][level]:
            reach = 28 + 14 * _extent(severity, rng)
            place = space.find(space.surface, region, reach, rng)
            if place is not None:
                signs.append(
                    Sign(str(region), Thickening.draw(place, reach, rng), onset())
                )
                space.taken += ((place, reach),)
        if rng.random() < more * _SHARES['cavity'][level]:
            radius = _cavity_radius(_extent(severity, rng))
            signs += _place_cavity(space, str(region), radius, visits, onset(), rng)
    if not signs:
        return []
    # A patient must have a sign at the first visit.
    if min(sign.onset for sign in signs) > 0:
        signs[0] = Sign(signs[0].region, signs[0].what, 0, signs[0].ball_onset)
    return signs


def _place_cavity(space, region, wanted, visits, onset, rng) -> list[Sign]:
    for radius in (wanted, 0.8 * wanted, 0.65 * wanted, 12.0):
        place = space.find(space.depth > 0.9 * radius, region, radius, rng)
        if place is None:
            continue
        space.taken += ((place, radius),)
        ball = visits
        # A ball needs space, and a hole that is large enough to show the air crescent.
        if radius > 13 and rng.random() < _BALL_SHARE:
            ball = onset if rng.random() < 0.7 else int(rng.integers(onset, visits))
        return [Sign(region, Cavity.draw(place, radius, rng), onset, ball)]
    return []


def _place_backgrounds(space, severity, rng) -> list[Sign]:
    found = []
    for kind in BACKGROUNDS:
        if rng.random() > (0.6 + 0.8 * severity) * _BACKGROUND_SHARES[kind]:
            continue
        for _ in range(int(rng.integers(1, 3 + round(2 * severity)))):
            region = str(rng.choice(REGIONS))
            reach = float(rng.uniform(14, 20 + 18 * severity))
            place = space.find(space.depth > 6, region, 10.0, rng, apart=0.9)
            if place is None:
                continue
            hilum = space.hila[region.split('_')[0]]
            found.append(
                Sign(
                    region,
                    Background(
                        kind,
                        tuple(place.tolist()),
                        reach,
                        severity,
                        hilum,
                        int(rng.integers(2**31)),
                    ),
                )
            )
    return found

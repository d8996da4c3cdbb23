"""How the simulated patients' signs move with time; pure tables of way points."""

from dataclasses import dataclass
from itertools import pairwise

Points = tuple[tuple[float, float], ...]
"""(seconds since the start, value), in order of time; straight lines between, the ends held."""

SIGNS = ("hr", "rr", "spo2", "nibp_sys", "nibp_dia", "temp")


@dataclass(frozen=True, slots=True)
class Profile:
    """Way points of every sign."""

    hr: Points
    rr: Points
    spo2: Points
    nibp_sys: Points
    nibp_dia: Points
    temp: Points
    period_s: float = 0
    """After this the course begins again; 0 = never."""

    def at(self, elapsed_s: float) -> dict[str, float]:
        """Every sign at a time."""
        within_s = elapsed_s % self.period_s if self.period_s else elapsed_s
        return {sign: _between(getattr(self, sign), within_s) for sign in SIGNS}


def _between(points: Points, at_s: float) -> float:
    if at_s <= points[0][0]:
        return points[0][1]
    for (start_s, start), (end_s, end) in pairwise(points):
        if at_s < end_s:
            return start + (end - start) * (at_s - start_s) / (end_s - start_s)
    return points[-1][1]


def _steady(hr: float, rr: float, spo2: float, pressure: tuple[float, float], temp: float) -> Profile:
    systolic, diastolic = pressure
    return Profile(((0, hr),), ((0, rr),), ((0, spo2),), ((0, systolic),), ((0, diastolic),), ((0, temp),))


PROFILES: dict[str, Profile] = {
    "stable": _steady(74, 15, 97.5, (124, 76), 36.6),
    "athlete": _steady(56, 13, 98.5, (116, 70), 36.4),
    "hypertensive": _steady(82, 16, 96.5, (158, 94), 36.5),
    "copd": _steady(88, 20, 93.4, (136, 80), 36.7),
    "fever": _steady(102, 19, 96.2, (118, 70), 38.7),
    "asleep": Profile(
        hr=((0, 70), (300, 60)),
        rr=((0, 15), (300, 12)),
        spo2=((0, 97),),
        nibp_sys=((0, 122), (600, 112)),
        nibp_dia=((0, 74), (600, 66)),
        temp=((0, 36.3),),
    ),
    # Crosses the medium limits (92 %, 24/min, 120/min) after two and a half minutes, the high one (85 %) after
    # four and a half; stays low for half an hour, recovers, and begins again.
    "deteriorating": Profile(
        hr=((0, 84), (45, 86), (150, 108), (240, 124), (300, 131), (2100, 131), (2400, 84)),
        rr=((0, 17), (45, 17), (150, 24), (240, 28), (300, 31), (2100, 31), (2400, 17)),
        spo2=((0, 96), (45, 95.6), (120, 92.4), (150, 91), (240, 87), (285, 83.6), (2100, 83.6), (2400, 96)),
        nibp_sys=((0, 128), (120, 118), (300, 102), (2100, 102), (2400, 128)),
        nibp_dia=((0, 78), (120, 72), (300, 62), (2100, 62), (2400, 78)),
        temp=((0, 37.6), (300, 38.3), (2100, 38.3), (2400, 37.6)),
        period_s=2700,
    ),
    # Breathing stops after a minute, for the zero-delay apnoea alarm.
    "apnoea": Profile(
        hr=((0, 76), (70, 76), (100, 58)),
        rr=((0, 14), (60, 14), (61, 0)),
        spo2=((0, 97), (70, 97), (130, 80)),
        nibp_sys=((0, 124),),
        nibp_dia=((0, 76),),
        temp=((0, 36.6),),
    ),
}

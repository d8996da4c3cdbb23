"""A simulated patient: signs that move as the profile says, and waves that agree with them; no clock, no sockets."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_node.devices.simulated.messages import Number
from edge_node.devices.simulated.profiles import SIGNS, Profile
from edge_node.devices.simulated.templates import POINTS, Curve, Templates
from edge_node.samples.measurement import Channel

ECG_HZ, PLETH_HZ, RESP_HZ = 250.0, 125.0, 62.5
ECG_GAIN, ECG_BASELINE = 200.0, 0.0
"""Digits per millivolt: 5 microvolts a digit."""
PLETH_GAIN, RESP_GAIN = 4000.0, 1000.0
_NOISE = {"hr": 1.6, "rr": 0.7, "spo2": 0.35, "nibp_sys": 3.0, "nibp_dia": 2.0, "temp": 0.03}
_NOISE_MEMORY_S = 12.0
_DECIMALS = {"temp": 1}
_CUFF = ("nibp_sys", "nibp_dia", "nibp_map")
_ALIAS = {"pr_oxim": "hr"}


@dataclass(frozen=True, slots=True)
class Habits:
    """How a simulated monitor is set."""

    nibp_every_s: float = 300
    waves: bool = True
    course_speed: float = 1
    """How fast the profile runs; the waves do not follow."""


@dataclass(slots=True)
class Patient:
    """Advances in steps; each step gives the values and the waves of that stretch."""

    profile: Profile
    templates: Templates
    seed: int
    habits: Habits = field(default_factory=Habits)
    overrides: dict[str, float] = field(default_factory=dict)
    """Signs that were set from outside: they hold exactly until cleared."""
    _elapsed_s: float = 0
    _wander: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SIGNS, 0.0))
    _beat_phase: float = 0
    _breath_phase: float = 0
    _cuff: tuple[Number, ...] = ()
    _cuff_due_s: float = 0
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def set(self, measure: str, value: float) -> None:
        """Hold a sign at a value; a cuff pressure is measured again at once.

        Raises:
            KeyError: no such sign.
        """
        known = {*SIGNS, *_CUFF, *_ALIAS}
        if measure not in known:
            raise KeyError(measure)
        self.overrides[measure] = value
        if measure in _CUFF:
            self._cuff_due_s = self._elapsed_s

    def clear(self) -> None:
        """Let every sign follow the profile again."""
        self.overrides.clear()

    def step(self, step_s: float, start_ns: int) -> tuple[list[Number], list[Channel]]:
        """Advance by `step_s`; `start_ns` is the time of the step's begin."""
        signs = self._signs(step_s)
        channels = self._channels(signs, step_s) if self.habits.waves else []
        if self._elapsed_s >= self._cuff_due_s:
            self._cuff = self._measure_cuff(signs, start_ns)
            self._cuff_due_s = self._elapsed_s + self.habits.nibp_every_s
        self._elapsed_s += step_s
        monitored = [
            Number(measure, self._text(measure, signs[_ALIAS.get(measure, measure)]))
            for measure in ("hr", "rr", "spo2", "pr_oxim", "temp")
        ]
        return [*monitored, *self._cuff], channels

    def _signs(self, step_s: float) -> dict[str, float]:
        signs = self.profile.at(self._elapsed_s * self.habits.course_speed)
        keep = float(np.exp(-step_s / _NOISE_MEMORY_S))
        for sign, spread in _NOISE.items():
            kick = self._random.normal(0, spread * np.sqrt(1 - keep * keep))
            self._wander[sign] = keep * self._wander[sign] + kick
            signs[sign] += self._wander[sign]
        signs["spo2"] = min(signs["spo2"], 100.0)
        if self.profile.at(self._elapsed_s * self.habits.course_speed)["rr"] < 1:
            signs["rr"] = 0.0
        return signs | self.overrides

    def _measure_cuff(self, signs: dict[str, float], at_ns: int) -> tuple[Number, ...]:
        systolic, diastolic = signs["nibp_sys"], signs["nibp_dia"]
        mean = self.overrides.get("nibp_map", diastolic + (systolic - diastolic) / 3)
        pressures = zip(_CUFF, (systolic, diastolic, mean), strict=True)
        return tuple(Number(measure, self._text(measure, value), at_ns) for measure, value in pressures)

    def _text(self, measure: str, value: float) -> str:
        value = self.overrides.get(measure, value)
        places = _DECIMALS.get(measure, 0)
        return f"{max(0.0, value):.{places}f}"

    def _channels(self, signs: dict[str, float], step_s: float) -> list[Channel]:
        beats_per_s, breaths_per_s = signs["hr"] / 60, signs["rr"] / 60
        nearest = min(self.templates.ecg_mv, key=lambda rate: abs(rate - signs["hr"]))
        ecg = self._cycle(self.templates.ecg_mv[nearest], ECG_HZ, step_s, self._beat_phase, beats_per_s)
        pleth = self._cycle(self.templates.pleth[nearest], PLETH_HZ, step_s, self._beat_phase, beats_per_s)
        breath = self._cycle(self.templates.breath, RESP_HZ, step_s, self._breath_phase, breaths_per_s)
        # The baseline of the ECG moves with the chest.
        sway = np.interp(np.linspace(0, 1, ecg.size), np.linspace(0, 1, max(breath.size, 1)), breath)
        ecg = ecg + 0.04 * sway + self._random.normal(0, 0.008, ecg.size)
        self._beat_phase = (self._beat_phase + beats_per_s * step_s) % 1
        self._breath_phase = (self._breath_phase + breaths_per_s * step_s) % 1
        return [
            _channel("ecg_II", ECG_HZ, ecg, ECG_GAIN, "mV"),
            _channel("ppg", PLETH_HZ, pleth, PLETH_GAIN, "1"),
            _channel("resp", RESP_HZ, breath, RESP_GAIN, "1"),
        ]

    def _cycle(self, curve: Curve, rate_hz: float, step_s: float, phase: float, per_s: float) -> Curve:
        # Counted from the start, so that 62.5 Hz gives 62 and 63 samples in turn and none is lost.
        first = int(np.ceil(self._elapsed_s * rate_hz - 1e-6))
        last = int(np.ceil((self._elapsed_s + step_s) * rate_hz - 1e-6))
        since_s = np.arange(first, last) / rate_hz - self._elapsed_s
        where = (phase + since_s * per_s) % 1 * POINTS
        drawn: Curve = np.interp(where, np.arange(POINTS), curve, period=POINTS)
        return drawn


def _channel(measure: str, rate_hz: float, curve: npt.NDArray[np.float64], gain: float, unit: str) -> Channel:
    digits = np.rint(curve * gain).astype(np.int32)
    return Channel(measure, rate_hz, digits, gain, ECG_BASELINE, unit)

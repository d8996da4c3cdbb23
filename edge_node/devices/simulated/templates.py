"""One heart beat and one breath as NeuroKit2 draws them, computed once; the only place that imports NeuroKit2."""

from dataclasses import dataclass

import neurokit2
import numpy as np
import numpy.typing as npt

RATES_PER_MIN = (45, 60, 75, 90, 110, 130, 160)
"""Heart rates for which a beat is drawn: the QRS does not shrink as much as the beat when the heart runs."""
POINTS = 512
_RATE_HZ = 500
_SECONDS = 16

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Templates:
    """Curves over one cycle, `POINTS` values each; the last value leads back to the first."""

    ecg_mv: dict[int, Curve]
    """By heart rate; R peak at 40 % of the cycle."""
    pleth: dict[int, Curve]
    """By heart rate; 0 to 1."""
    breath: Curve
    """-1 to 1."""


def build(seed: int) -> Templates:
    """Draw the curves; takes about a second."""
    ecg = {rate: _ecg_beat(rate, seed) for rate in RATES_PER_MIN}
    pleth = {rate: _pleth_beat(rate, seed) for rate in RATES_PER_MIN}
    return Templates(ecg, pleth, _breath(seed))


def _ecg_beat(rate: int, seed: int) -> Curve:
    drawn = neurokit2.ecg_simulate(
        duration=_SECONDS, sampling_rate=_RATE_HZ, heart_rate=rate, heart_rate_std=0, noise=0, random_state=seed
    )
    _, found = neurokit2.ecg_peaks(drawn, sampling_rate=_RATE_HZ)
    curve = _mean_cycle(drawn, np.asarray(found["ECG_R_Peaks"]), lead=0.4)
    # An R wave of about one millivolt, as in lead II of a healthy adult.
    scaled: Curve = (curve - np.median(curve)) / np.ptp(curve) * 1.2
    return scaled


def _pleth_beat(rate: int, seed: int) -> Curve:
    drawn = neurokit2.ppg_simulate(
        duration=_SECONDS,
        sampling_rate=_RATE_HZ,
        heart_rate=rate,
        frequency_modulation=0,
        ibi_randomness=0,
        drift=0,
        motion_amplitude=0,
        powerline_amplitude=0,
        burst_number=0,
        random_state=seed,
    )
    found = neurokit2.ppg_findpeaks(drawn, sampling_rate=_RATE_HZ)
    # The pulse arrives at the finger a quarter of a second after the R peak.
    curve = _mean_cycle(drawn, np.asarray(found["PPG_Peaks"]), lead=min(0.95, 0.4 + 0.4 * rate / 60))
    scaled: Curve = (curve - curve.min()) / np.ptp(curve)
    return scaled


def _breath(seed: int) -> Curve:
    drawn = neurokit2.rsp_simulate(
        duration=60, sampling_rate=100, respiratory_rate=15, noise=0, method="breathmetrics", random_state=seed
    )
    found = neurokit2.signal_findpeaks(drawn, height_min=0)
    curve = _mean_cycle(drawn, np.asarray(found["Peaks"]), lead=0.4)
    scaled: Curve = 2 * (curve - curve.min()) / np.ptp(curve) - 1
    return scaled


def _mean_cycle(drawn: Curve, peaks: npt.NDArray[np.int64], lead: float) -> Curve:
    """Average of the cycles between peaks, each stretched to `POINTS`, the peak standing at `lead`."""
    positions = np.linspace(0, 1, POINTS, endpoint=False) - lead
    cycles = []
    for before, at, after in zip(peaks, peaks[1:], peaks[2:], strict=False):
        where = np.where(positions < 0, at + positions * (at - before), at + positions * (after - at))
        cycles.append(np.interp(where, np.arange(len(drawn)), drawn))
    curve: Curve = np.mean(cycles[1:-1], axis=0)
    # Close the cycle: no step where one beat follows the next.
    closing = np.linspace(0, 1, POINTS) * (curve[-1] - curve[0])
    closed: Curve = curve - closing
    return closed

"""Makes the WFDB record that one bed of the demo plays: ten minutes of synthetic ECG, pleth and respiration."""

import sys
from pathlib import Path

import neurokit2
import numpy as np
import wfdb

RATE_HZ = 125
LENGTH_S = 600


def make(folder: Path) -> None:
    """Write demo.hea and demo.dat (format 16) with leads II, PLETH and RESP at 125 Hz into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ecg = neurokit2.ecg_simulate(duration=LENGTH_S, sampling_rate=RATE_HZ, heart_rate=75, random_state=4)
    pleth = neurokit2.ppg_simulate(duration=LENGTH_S, sampling_rate=RATE_HZ, heart_rate=75, random_state=4)
    breath = neurokit2.rsp_simulate(duration=LENGTH_S, sampling_rate=RATE_HZ, respiratory_rate=15, random_state=4)
    length = min(len(ecg), len(pleth), len(breath))
    wfdb.wrsamp(
        "demo",
        fs=RATE_HZ,
        units=["mV", "NU", "NU"],
        sig_name=["II", "PLETH", "RESP"],
        p_signal=np.column_stack([ecg[:length], pleth[:length], breath[:length]]),
        fmt=["16", "16", "16"],
        write_dir=str(folder),
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]))

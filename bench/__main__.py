"""`make bench`: every figure in one run; JSON and a table, with date, commit and machine, beside this file."""

import argparse
import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import delay, ingest

HERE = Path(__file__).resolve().parent


def circumstances() -> dict[str, str]:
    """Say when, on what and from which commit the figures are."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit,
        "command": "make bench",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def main() -> None:
    """Run all measurements and write spine.json and spine.md."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=30, help="length of each delay measurement")
    arguments.add_argument("--patients", type=int, nargs="+", default=[1, 20, 100])
    chosen = arguments.parse_args()
    rows = []
    for mosquitto in (True, False):
        for patients in chosen.patients:
            row = delay.measure(patients, mosquitto=mosquitto, seconds=chosen.seconds)
            print(delay.table([row]).splitlines()[-1], flush=True)
            rows.append(row)
    rates = ingest.measure()
    facts = circumstances()
    (HERE / "spine.json").write_text(
        json.dumps({**facts, "delay": [asdict(row) for row in rows], "ingest": asdict(rates)}, indent=1) + "\n"
    )
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    text = f"""# Speed of the spine

{heading}

Ratios and shares are worth more than absolute times: the machine is shared.

## From the device's socket to the physician's screen

One message a second and patient, eight numerics and three waves (ECG 250 Hz, pleth 125 Hz, respiration 62.5 Hz), ten
patients an edge. Monitors, edges, broker, hub and screen are processes on this one machine; the screen watches all
numerics and the waves of {delay.WATCHED_BEDS} beds. Delay runs from the moment the monitor sends to the message on the
screen's socket.

{delay.table(rows)}

## How near ingest comes to its limit

Limit: the slower of a bare Mosquitto with a counting subscriber in our client library, and batched upserts of the same
payload; pre-encoded load, same run.

{ingest.table(rates)}
"""
    (HERE / "spine.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

"""Alarms while an image upload fills a thin, falling or lossy uplink; and how much of the link the upload alone uses.

`python -m bench.alarms`: edge, broker and hub are the product's processes at the two ends of a packet tunnel (Linux,
root).  The upload is the product's own transfer of files.  A plain MQTT client does the same over a tunnel of the same
settings and seed, at the same time.
"""

import argparse
import json
import sys
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

from bench.__main__ import circumstances
from bench.alarm_source import EVERY_S
from bench.alarm_trial import Case, Outcome, at, plain_client, product, upload_alone
from tests.faults.relay.settings import Settings, plain
from tests.faults.relay.traces import Capacity, constant, stepped

HERE = Path(__file__).resolve().parent
ALARMS = 2_000
THIN_BPS = 256_000
TRAVEL = Settings(delay_s=0.03)
THIN = replace(TRAVEL, rate=constant(THIN_BPS))
BINS_A_DECADE = 7
BIN_ENDS_MS = [round(10 ** (1 + number / BINS_A_DECADE), 1) for number in range(5 * BINS_A_DECADE + 1)]
"""Where the bins of a histogram end, 10 ms to 1,000 s: 39 % apart; the last takes the rest."""
HOLD_S, FALL_STEPS = 20.0, 4


def falling(from_bps: float) -> Capacity:
    """Return a capacity that falls to a quarter within a second, stays there, and comes back, again and again."""
    falls = [(1 / FALL_STEPS, from_bps * (1 - 0.75 * (step + 1) / FALL_STEPS)) for step in range(FALL_STEPS)]
    return stepped([(HOLD_S, from_bps), *falls, (HOLD_S, from_bps / 4)])


CASES = (
    Case("256 kbit/s, saturated", THIN, TRAVEL, "p99 under 300 ms"),
    Case("256 to 64 kbit/s in a second", replace(TRAVEL, rate=falling(256_000)), TRAVEL, "p99 under 1 s"),
    Case("1,024 to 256 kbit/s in a second", replace(TRAVEL, rate=falling(1_024_000)), TRAVEL, "p99 under 1 s"),
    Case("20 % lost both ways", replace(THIN, loss=plain(0.2)), replace(TRAVEL, loss=plain(0.2)), "p99 under 1 s"),
    Case(
        "50 % lost both ways",
        replace(THIN, loss=plain(0.5)),
        replace(TRAVEL, loss=plain(0.5)),
        "received, p99 under 1 s",
    ),
)

ALONE = Case("256 kbit/s, upload alone", THIN, TRAVEL, "80 % or more of the capacity used")


def main() -> None:
    """Run the cases and write alarms.json and alarms.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alarms", type=int, default=ALARMS, help="alarms a case and client")
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))), help="which of the cases")
    parser.add_argument("--bulk-s", type=float, default=120, help="how long the upload alone is measured")
    parser.add_argument("--at-once", type=int, default=3, help="cases that run beside each other")
    parser.add_argument("--only-product", action="store_true", help="without the plain client")
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    clients = (product,) if asked.only_product else (product, plain_client)
    outcomes: list[Outcome] = []
    if asked.bulk_s:
        outcomes.append(upload_alone(ALONE, asked.bulk_s))
        print(line(outcomes[-1]), flush=True)
    with ThreadPoolExecutor(len(clients) * asked.at_once) as together:
        running = [together.submit(client, CASES[number], asked.alarms) for number in asked.cases for client in clients]
        for each in running:
            outcomes.append(each.result())
            print(line(outcomes[-1]), flush=True)
            if not asked.dry:
                write(outcomes, asked.at_once)


def line(row: Outcome) -> str:
    """Return one row of the table."""

    def told(delays_ms: Sequence[float]) -> str:
        if not delays_ms:
            return "-"
        return " / ".join(f"{at(delays_ms, share):.0f}" for share in (0.5, 0.9, 0.99, 1))

    cells = (
        row.case,
        row.client,
        row.alarms,
        row.missing,
        told(row.received_ms),
        told(row.committed_ms),
        f"{row.wire_share:.0%}",
        row.up_bytes,
        row.down_bytes,
        f"{row.load:.1f}",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def summary(delays_ms: Sequence[float]) -> dict[str, object]:
    """Return sorted delays as percentiles, to a tenth of a millisecond, and as counts by the bins of BIN_ENDS_MS."""
    if not delays_ms:
        return {}
    told: dict[str, object] = {
        name: round(at(delays_ms, share), 1)
        for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("longest_ms", 1))
    }
    ends = [0, *(bisect_right(delays_ms, end_ms) for end_ms in BIN_ENDS_MS[:-1]), len(delays_ms)]
    return told | {"counts": [last - first for first, last in pairwise(ends)]}


def _short(row: Outcome) -> dict[str, object]:
    """Return a row for the file, which needs no single delay."""
    told = asdict(row)
    return told | {name: summary(told.pop(f"{name}_ms")) for name in ("received", "committed")}


def _one_row_a_line(told: dict[str, object]) -> str:
    """Return JSON that a change of one row changes in one line."""
    rows = told.pop("rows")
    assert isinstance(rows, list)
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    return json.dumps(told)[:-1] + f',\n "rows": [\n  {lines}\n ]}}'


def write(outcomes: Sequence[Outcome], at_once: int) -> None:
    """Write the report."""
    facts = {**circumstances(), "command": " ".join(("python -m bench.alarms", *sys.argv[1:]))}
    told = {**facts, "cases_at_once": at_once, "bin_ends_ms": BIN_ENDS_MS, "rows": [_short(row) for row in outcomes]}
    (HERE / "alarms.json").write_text(_one_row_a_line(told) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    names = {row.case for row in outcomes}
    bars = "\n".join(f"- {case.name}: {case.target}" for case in (ALONE, *CASES) if case.name in names)
    rows = "\n".join(line(row) for row in outcomes)
    sizes = [row.alarm_bytes for row in outcomes if row.client == "product" and row.alarms]
    (HERE / "alarms.md").write_text(f"""# Alarms over a bad uplink

{heading}

Edge, broker (Mosquitto) and hub are the product's processes at the two ends of a packet tunnel with {THIN_BPS // 1000}
kbit/s up (where the case says nothing else), 48,000 bytes of queue and 30 ms of travel each way; {at_once} cases at a
time on this one machine, each over a tunnel of its own.  A file of 96 MiB is uploaded by the product's own transfer all
the while.  A monitor's messages raise and end an alarm {1 / EVERY_S:.0f} times a second, far faster than in life; as
stored one has {min(sizes, default=0)} to {max(sizes, default=0)} bytes.  Sessions are up before the link is made bad.
The plain client is paho with one connection and QoS 1, upload and alarms of 300 bytes through it, over a tunnel with
the same settings and seed at the same time.  Delays in milliseconds from the alarm's own time at the edge: p50 / p90 /
p99 / longest; `missing` had not arrived a minute after the last was raised.

Bars, for the product:

{bars}

| case | client | alarms | missing | at the hub's door | committed and told to a screen | of the capacity up used \
| bytes up | bytes down | load |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}
""")


if __name__ == "__main__":
    main()

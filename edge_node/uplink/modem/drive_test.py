"""Drive tests of mobile networks as sights: CSV files in the form of the UCC 5G data set (pure but for reading).

The form is that of G-NetTrack Pro: a line about once a second with time, operator, cell, technology and signal.
"""

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge_node.uplink.modem.sight import ModemState, RadioSight, Reception, Technology

TIME_FORMAT = "%Y.%m.%d_%H.%M.%S"
"""Local time of the phone; only differences are used."""
MODES: Mapping[str, Technology] = {
    "GPRS": Technology.GSM,
    "EDGE": Technology.GSM,
    "UMTS": Technology.UMTS,
    "HSDPA": Technology.UMTS,
    "HSUPA": Technology.UMTS,
    "HSPA": Technology.UMTS,
    "HSPA+": Technology.UMTS,
    "LTE": Technology.LTE,
    # The 5G of these recordings (2019, 2020) stands beside LTE: no operator had it otherwise yet.
    "5G": Technology.NR_NSA,
}
RSRP_DBM, RSRQ_DB, SINR_DB = (-156.0, -31.0), (-43.0, 20.0), (-23.0, 40.0)
"""What can be reported (3GPP TS 36.133 9.1, TS 38.133 10.1): what lies outside is a filler for "not known"."""


class DriveTestRefused(Exception):
    """A file is no drive test in this form."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a drive test."""

    at_s: float
    """Since its first line."""
    sight: RadioSight
    """Its own time is 0."""


def read(file: Path) -> list[Moment]:
    """Return all lines of a drive test, plain or gzip.

    Raises:
        DriveTestRefused: it cannot be read, or has not one line in this form.
    """
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8", newline="") as lines:
            moments = list(moments_of(csv.DictReader(lines)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        raise DriveTestRefused(f"{file}: {error!r}") from error
    if not moments:
        raise DriveTestRefused(f"{file}: no lines")
    return moments


def moments_of(rows: Iterable[Mapping[str, str]]) -> Iterator[Moment]:
    """Yield the lines as sights in their order; a clock that goes back stands still instead.

    Raises:
        KeyError, ValueError: a column is missing or holds something else.
    """
    began: datetime | None = None
    latest_s = 0.0
    for row in rows:
        stamp = datetime.strptime(row["Timestamp"], TIME_FORMAT)  # noqa: DTZ007
        began = began or stamp
        latest_s = max(latest_s, (stamp - began).total_seconds())
        yield Moment(latest_s, sight_of(row))


def sight_of(row: Mapping[str, str]) -> RadioSight:
    """Return what a line says; a technology that is not named means no service."""
    technology = MODES.get(row["NetworkMode"])
    if technology is None:
        return RadioSight("", ModemState.SEARCHING, 0.0)
    is_umts = technology in (Technology.UMTS, Technology.GSM)
    return RadioSight(
        path="",
        state=ModemState.CONNECTED,
        at_s=0.0,
        technology=technology,
        # On 2G and 3G the column holds the power of another signal, which no threshold of ours is made for.
        cell=Reception() if is_umts else _reception(row["RSRP"], row["RSRQ"], row["SNR"]),
        # Columns NRx are of a neighbour cell, not of the 5G leg.
        cell_id=_cell_id(row["RAWCELLID"]),
        operator=row["Operatorname"] if row["Operatorname"] not in ("", "-", "0") else None,
    )


def _reception(rsrp: str, rsrq: str, sinr: str) -> Reception:
    return Reception(_within(rsrp, RSRP_DBM), _within(rsrq, RSRQ_DB), _within(sinr, SINR_DB))


def _within(text: str, bounds: tuple[float, float]) -> float | None:
    if text in ("", "-"):
        return None
    value = float(text)
    return value if bounds[0] <= value <= bounds[1] else None


def _cell_id(text: str) -> str | None:
    return f"{int(text):X}" if text not in ("", "-", "0") else None

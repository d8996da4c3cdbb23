"""What a modem sees of the mobile network at one instant, and what follows from it (pure).

A value that is not known is None, never 0: 0 dB and "no signal" are measurements.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

CONVENTION = "yuanzhen-bars-1"
"""Version of BARS, QUALITY_BARS and GUESS_BPS: a convention, no physical law; told along with the bars."""


class ModemState(StrEnum):
    """What a modem is doing."""

    ABSENT = "absent"
    """Not there, or whoever drives it is not."""
    FAILED = "failed"
    NO_SIM = "no-sim"
    LOCKED = "locked"
    """The SIM wants its PIN."""
    OFF = "off"
    STARTING = "starting"
    SEARCHING = "searching"
    DENIED = "denied"
    """The network refuses this SIM: not paid, barred, or not allowed here."""
    REGISTERED = "registered"
    CONNECTING = "connecting"
    CONNECTED = "connected"


class Technology(StrEnum):
    """How the modem speaks with the network, by generation."""

    GSM = "gsm"
    UMTS = "umts"
    LTE = "lte"
    NR_NSA = "5gnr-nsa"
    """5G beside an LTE anchor, which holds the connection."""
    NR_SA = "5gnr-sa"


SERVING = frozenset({ModemState.REGISTERED, ModemState.CONNECTING, ModemState.CONNECTED})


@dataclass(frozen=True, slots=True)
class Reception:
    """How well one cell is received."""

    rsrp_dbm: float | None = None
    """Power of the reference signal (3GPP TS 36.214 5.1.1, TS 38.215 5.1.1)."""
    rsrq_db: float | None = None
    sinr_db: float | None = None


UNKNOWN = Reception()


@dataclass(frozen=True, slots=True)
class RadioSight:
    """What one modem sees at one instant."""

    path: str
    """Name of this way to the hub in the configuration."""
    state: ModemState
    at_s: float
    """Monotonic clock."""
    technology: Technology | None = None
    cell: Reception = UNKNOWN
    """Of the cell that holds the connection: with 5GNR-NSA the LTE anchor."""
    nr: Reception = UNKNOWN
    """Of the 5G cell beside the anchor, with 5GNR-NSA alone."""
    quality_pct: int | None = None
    cell_id: str | None = None
    """Cell identity as TS 27.007 writes it: hexadecimal, upper case, no leading zeros."""
    operator: str | None = None
    sim_slot: int | None = None
    """1, 2, ...; None also where the modem has no slots to choose from."""
    is_roaming: bool | None = None

    @property
    def has_service(self) -> bool:
        """Whether the modem is registered with a network."""
        return self.state in SERVING


class Change(StrEnum):
    """What became different between two sights, for logs, counters and the capacity estimate."""

    FOUND = "found"
    LOST = "lost"
    CELL = "cell"
    """A hand-over, or another cell chosen while idle."""
    TECHNOLOGY = "technology"
    SIM = "sim"


NEW_WAY = frozenset({Change.FOUND, Change.CELL, Change.TECHNOLOGY, Change.SIM})
"""After one of these nothing that was measured of the link's capacity holds any more."""

_LTE_BARS = (-128.0, -118.0, -108.0, -98.0)
_NR_BARS = (-110.0, -90.0, -80.0, -65.0)
BARS: Mapping[Technology, tuple[float, float, float, float]] = {
    Technology.LTE: _LTE_BARS,
    Technology.NR_NSA: _LTE_BARS,
    Technology.NR_SA: _NR_BARS,
}
"""RSRP in dBm from which 1, 2, 3 and 4 bars are shown: what a phone shows at the same spot.

Android's CarrierConfigManager as shipped: KEY_LTE_RSRP_THRESHOLDS_INT_ARRAY, KEY_5G_NR_SSRSRP_THRESHOLDS_INT_ARRAY; by
default it goes by RSRP alone.  TS 36.133 and 38.133 give the ranges, but no bars.  With 5GNR-NSA the anchor counts: if
it goes, all goes.
"""

QUALITY_BARS = (6, 31, 56, 81)
"""Signal quality in per cent from which 1 to 4 bars are shown, where no RSRP is known (2G, 3G): the steps of
NetworkManager's applet."""

_FULL_BPS = (32_000, 64_000, 128_000, 128_000, 128_000)
GUESS_BPS: Mapping[Technology, tuple[int, int, int, int, int]] = {
    Technology.GSM: (8_000, 8_000, 16_000, 24_000, 24_000),
    Technology.UMTS: (16_000, 32_000, 64_000, 64_000, 64_000),
    Technology.LTE: _FULL_BPS,
    Technology.NR_NSA: _FULL_BPS,
    Technology.NR_SA: _FULL_BPS,
}
"""Bits a second to begin with, by technology and bars (0 to 4).

128 kbit/s is reliability 3.2.  With UMTS 64 kbit/s is the least packet bearer (TS 34.108 6.10.2.4.1); with GSM two
GPRS slots in CS-2 carry 26.8 kbit/s (TS 43.064).  At 0 or 1 bar the modem sends at full power and still repeats
itself, so that half or a quarter is assumed: a wrong guess upwards fills the modem's queue, in front of an alarm.
"""
POOR_SINR_DB = -3.0
"""Below this power does not help (Android's "poor", KEY_LTE_RSSNR_THRESHOLDS_INT_ARRAY)."""
POOR_BARS = 1
UNKNOWN_BARS = 2
"""What a signal counts as for the guess while nothing is known of it."""


def bars(sight: RadioSight) -> int | None:
    """Return 0 to 4 bars; 0 without service, None where there is service and no measure of it."""
    if not sight.has_service:
        return 0
    thresholds = BARS.get(sight.technology) if sight.technology else None
    if thresholds and sight.cell.rsrp_dbm is not None:
        return bisect_right(thresholds, sight.cell.rsrp_dbm)
    if sight.technology is Technology.NR_NSA and sight.nr.rsrp_dbm is not None:
        return bisect_right(_NR_BARS, sight.nr.rsrp_dbm)
    return None if sight.quality_pct is None else bisect_right(QUALITY_BARS, sight.quality_pct)


def first_guess_bps(sight: RadioSight) -> int:
    """Return the uplink capacity to begin with after the link came up or was handed over, in bits a second."""
    shown = bars(sight)
    column = UNKNOWN_BARS if shown is None else shown
    if sight.cell.sinr_db is not None and sight.cell.sinr_db < POOR_SINR_DB:
        column = min(column, POOR_BARS)
    return GUESS_BPS.get(sight.technology or Technology.LTE, _FULL_BPS)[column]


def changes(before: RadioSight | None, after: RadioSight) -> list[Change]:
    """Return what became different; a value that became known or unknown is no change.

    `before` is what `carried` made of the sights up to now, so that a cell which is unknown for a moment in the
    middle of a hand-over does not hide it.  None: this is the first sight.
    """
    found = []
    had_service = before is not None and before.has_service
    if had_service != after.has_service:
        found.append(Change.FOUND if after.has_service else Change.LOST)
    if before is None:
        return found
    pairs = (
        (Change.SIM, before.sim_slot, after.sim_slot),
        (Change.TECHNOLOGY, before.technology, after.technology),
        (Change.CELL, before.cell_id, after.cell_id),
    )
    found += [change for change, old, new in pairs if old is not None and new is not None and old != new]
    return found


def carried(before: RadioSight | None, after: RadioSight) -> RadioSight:
    """Return `after` with its unknown slot, technology and cell as they were last known.

    For `changes` alone: what people are shown is the sight itself.
    """
    if before is None:
        return after
    return replace(
        after,
        sim_slot=before.sim_slot if after.sim_slot is None else after.sim_slot,
        technology=before.technology if after.technology is None else after.technology,
        cell_id=before.cell_id if after.cell_id is None else after.cell_id,
    )


def is_new_way(found: Collection[Change]) -> bool:
    """Whether the capacity estimate must begin anew, with `first_guess_bps`."""
    return not NEW_WAY.isdisjoint(found)

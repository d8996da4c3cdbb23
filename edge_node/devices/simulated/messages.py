"""ORU^R01 messages as a monitor writes them, waves included; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo

from telemed.measures import MEASURES, WAVES

from edge_node.devices.hl7_monitor import timestamps
from edge_node.devices.hl7_monitor.codes import (
    BASELINE_FACET,
    INVALID_FACET,
    LABEL_FACET,
    LOCAL_CODING,
    RATE_FACET,
    REFID_OF,
    RESOLUTION_FACET,
    UNIT_NAMES,
    WAVE_FACETS,
    WAVE_UNIT_CODE,
)
from edge_node.devices.hl7_monitor.frames import escape
from edge_node.samples.measurement import Channel

CHINA_ZONE: tzinfo = timezone(timedelta(hours=8))
_PROFILE = "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
_UNIT_CODES = {
    "/min": 264864,
    "%": 262688,
    "mm[Hg]": 266016,
    "Cel": 268192,
}


@dataclass(frozen=True, slots=True)
class Speaker:
    """The monitor and whom it is connected to, as it writes them into each message."""

    eui64: str
    application: str = "QY-MON"
    facility: str = "BAOSHAN-CLINIC"
    patient_id: str = ""
    authority: str = "BAOSHAN&2.999.1.7&ISO"
    family_name: str = ""
    given_name: str = ""
    birth_date: str = ""
    """ISO 8601 or empty."""
    sex: str = ""
    """M, F or empty."""
    location: str = ""
    """PV1-3, e.g. OBS^R1^B02^BAOSHAN-CLINIC."""
    processing: str = "P"
    zone: tzinfo = CHINA_ZONE


@dataclass(frozen=True, slots=True)
class Number:
    """One numeric value to be sent."""

    measure: str
    value: str
    at_ns: int = 0
    """Own time (OBX-14); 0 = that of the message."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one message says."""

    control_id: str
    sent_ns: int
    start_ns: int
    end_ns: int
    numbers: Sequence[Number] = ()
    channels: Sequence[Channel] = ()


def compose(speaker: Speaker, report: Report) -> bytes:
    """Return the message, UTF-8, CR-terminated segments."""
    head = _head(speaker, report)
    rows = _number_rows(speaker, report) + _wave_rows(report)
    numbered = [f"OBX|{number}|{row}" for number, row in enumerate(rows, 1)]
    return ("\r".join(head + numbered) + "\r").encode()


def _head(speaker: Speaker, report: Report) -> list[str]:
    def at(time_ns: int) -> str:
        return timestamps.write(time_ns, speaker.zone)

    sender = f"{escape(speaker.application)}^{speaker.eui64}^EUI-64"
    header = [
        "MSH",
        "^~\\&",
        sender,
        escape(speaker.facility),
        "EDGE-GW",
        "EDGE",
        at(report.sent_ns),
        "",
        "ORU^R01^ORU_R01",
        escape(report.control_id),
        speaker.processing,
        "2.6||",
        "NE|AL|CHN|UNICODE UTF-8||",
        _PROFILE,
    ]
    lines = ["|".join(header)]
    if speaker.patient_id or speaker.family_name:
        born = speaker.birth_date.replace("-", "")
        name = f"{escape(speaker.family_name)}^{escape(speaker.given_name)}^^^^^L"
        lines.append(f"PID|||{escape(speaker.patient_id)}^^^{speaker.authority}^MR||{name}||{born}|{speaker.sex}")
    if speaker.location:
        lines.append(f"PV1||O|{speaker.location}")
    order = f"{escape(report.control_id)}^{sender}"
    procedure = "182777000^monitoring of patient^SCT"
    lines.append(f"OBR|1|{order}|{order}|{procedure}|||{at(report.start_ns)}|{at(report.end_ns)}")
    return lines


def _number_rows(speaker: Speaker, report: Report) -> list[str]:
    rows = []
    for index, number in enumerate(report.numbers, 1):
        row = MEASURES[number.measure]
        code = row.mdc[0]
        unit = 264928 if number.measure == "rr" else _UNIT_CODES[row.unit]
        own = timestamps.write(number.at_ns, speaker.zone) if number.at_ns else ""
        name = f"{code}^{REFID_OF.get(code, '')}^MDC"
        rows.append(f"NM|{name}|1.1.1.{index}|{number.value}|{unit}^{UNIT_NAMES[unit]}^MDC|||||R|||{own}")
    return rows


def _wave_rows(report: Report) -> list[str]:
    rows: list[str] = []
    for index, channel in enumerate(report.channels, 1):
        level = f"1.2.1.{index}"
        unit_code, unit_name = WAVE_UNIT_CODE.get(channel.unit, WAVE_UNIT_CODE["1"])
        unit = f"{unit_code}^{unit_name}^MDC"
        samples = "^".join(map(str, channel.digits.tolist()))
        rows.append(f"NA|{_wave_code(channel)}|{level}|{samples}|{unit}|||||R")
        facets = [
            ("NM", RATE_FACET, f"{channel.rate_hz!r}", "264608^MDC_DIM_PER_SEC^MDC"),
            ("NM", RESOLUTION_FACET, f"{1 / channel.gain!r}", unit),
            ("NM", BASELINE_FACET, f"{channel.baseline!r}" if channel.baseline else "", ""),
            ("NA", INVALID_FACET, "^".join(map(str, channel.invalid_digits)), ""),
            ("ST", LABEL_FACET, escape(channel.label), ""),
        ]
        told = [facet for facet in facets if facet[2]]
        for step, (kind, name, value, facet_unit) in enumerate(told, 1):
            system = "MDC" if name in WAVE_FACETS else LOCAL_CODING
            rows.append(f"{kind}|{WAVE_FACETS.get(name, 0)}^{name}^{system}|{level}.{step}|{value}|{facet_unit}|||||R")
    return rows


def _wave_code(channel: Channel) -> str:
    wave = WAVES.get(channel.measure)
    if wave is not None and wave.mdc:
        return f"{wave.mdc[0]}^{REFID_OF[wave.mdc[0]]}^MDC"
    return f"{channel.measure.removeprefix('mdc:')}^YUANZHEN_WAVE^{LOCAL_CODING}"

"""Code systems and codings of measures (clinical 1.1, 1.2): LOINC first, then IEEE 11073, units in UCUM."""

from dataclasses import dataclass

from telemed.measures import BP_PANEL_LOINC, BP_PANEL_MDC, MEASURES

from cloud_hub.fhir.json_text import Json

LOINC = "http://loinc.org"
MDC = "urn:iso:std:iso:11073:10101"
UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
LOCAL = "urn:yuanzhen:obs"
TAGS = "urn:yuanzhen:tag"
EUI64 = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"
"""Identifier system of a device's EUI-64, as the HL7 PHD guide writes it."""
LOCAL_DEVICE = "urn:yuanzhen:device"
LOCAL_NODE = "urn:yuanzhen:node"
AUTHORITY = "urn:yuanzhen:authority:"
"""Before the name of an assigning authority that is no URI of its own."""
GATEWAY = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice"
RAW_VALUE = "urn:yuanzhen:raw-value"
VITAL_SIGNS = "vital-signs"

Coding = tuple[str, str]
"""System and code."""

UNIT_TEXT = {"/min": "/min", "mm[Hg]": "mmHg", "Cel": "°C", "{score}": "score"}
PROFILES = {
    "hr": "heartrate",
    "pr_oxim": "heartrate",
    "pr_nibp": "heartrate",
    "rr": "resprate",
    "spo2": "oxygensat",
    "temp": "bodytemp",
    "wt": "bodyweight",
    "ht": "bodyheight",
    "nibp": "bp",
    "abp": "bp",
}
"""R4 vital-signs profiles that an Observation with a subject is claimed to meet (clinical 7.2)."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Measures that make one Observation with components."""

    key: str
    text: str
    members: tuple[str, ...]
    mdc: int
    required: dict[str, str]
    """Code that the profile asks for in a component, where the measure's own is more special."""


PANELS = (
    Panel("nibp", "血压 Blood pressure", ("nibp_sys", "nibp_dia", "nibp_map"), BP_PANEL_MDC, {}),
    Panel(
        "abp",
        "有创动脉压 Arterial pressure",
        ("abp_sys", "abp_dia", "abp_map"),
        150036,
        {"abp_sys": "8480-6", "abp_dia": "8462-4", "abp_map": "8478-0"},
    ),
)
PANEL_OF = {member: panel for panel in PANELS for member in panel.members}

# The oximeter's pulse also carries the heart-rate code that FHIR asks for; its own code stands first, so that
# a reader of the first coding does not take it for the ECG's.
_FIRST = {"pr_oxim": "8889-8"}


def codings(measure: str, mdc: int) -> list[Coding]:
    """Return the codings of one value: LOINC, then the IEEE code that the device used, else ours, else a local one."""
    row = MEASURES[measure]
    first = _FIRST.get(measure, row.loinc[0] if row.loinc else "")
    panel = PANEL_OF.get(measure)
    required = panel.required.get(measure, "") if panel else ""
    loinc = dict.fromkeys(code for code in (required, first, *row.loinc) if code)
    number = mdc or (row.mdc[0] if row.mdc else 0)
    found = [(LOINC, code) for code in loinc] + ([(MDC, str(number))] if number else [])
    return found or [(LOCAL, measure)]


def panel_codings(panel: Panel) -> list[Coding]:
    """Return the codings of a panel."""
    return [(LOINC, BP_PANEL_LOINC), (MDC, str(panel.mdc))]


def concept(found: list[Coding], text: str) -> Json:
    """Return a CodeableConcept."""
    return {"coding": [{"system": system, "code": code} for system, code in found], "text": text}

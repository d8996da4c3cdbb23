"""The CapabilityStatement, made from the table that the routes obey (clinical 7.1: tested for truthfulness).  Pure."""

from cloud_hub.fhir.json_text import Json
from cloud_hub.fhir.parameters import SEARCH

FHIR_VERSION = "4.0.1"
INTERACTIONS = ("read", "search-type")
PROFILE = "http://hl7.org/fhir/StructureDefinition/"
_VITALS = ("vitalsigns", "heartrate", "resprate", "oxygensat", "bodytemp", "bp", "bodyweight", "bodyheight")


def statement(base_url: str, version: str, started: str) -> dict[str, Json]:
    """Return what this server can do.

    Args:
        base_url: where it is asked, without a slash at the end.
        version: of the software.
        started: ISO 8601 time since when this statement holds.
    """
    resources: list[Json] = []
    for name, found in SEARCH.items():
        resource: dict[str, Json] = {
            "type": name,
            "profile": PROFILE + name,
            "interaction": [{"code": code} for code in INTERACTIONS],
            "versioning": "no-version",
            "searchParam": [{"name": one.name, "type": one.type, "documentation": one.text} for one in found],
        }
        if name == "Observation":
            resource["supportedProfile"] = [PROFILE + profile for profile in _VITALS]
        resources.append(resource)
    root = base_url.removesuffix("/fhir/R4")
    oauth: Json = {
        "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
        "extension": [
            {"url": "token", "valueUri": f"{root}/oauth/token"},
            {"url": "authorize", "valueUri": f"{root}/oauth/authorize"},
        ],
    }
    service = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service"}]}
    security: Json = {
        "extension": [oauth],
        "service": [{"coding": [{**service["coding"][0], "code": "SMART-on-FHIR"}]}],
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": started,
        "kind": "instance",
        "software": {"name": "Yuanzhen hub", "version": version},
        "implementation": {"description": "Yuanzhen telemedicine hub, read only", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": ["application/fhir+json", "json"],
        "rest": [{"mode": "server", "security": security, "resource": resources}],
    }

"""Patient and Device resources from what sites reported.  Pure."""

import hashlib
import re
from datetime import timedelta

from cloud_hub.fhir import codes
from cloud_hub.fhir.json_text import Json
from cloud_hub.fhir.observation import instant
from cloud_hub.store.persons import Device, Person

_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
_GENDERS = frozenset({"male", "female", "other", "unknown"})


def system_of(authority: str) -> str:
    """Return the identifier system of an assigning authority: itself where it is a URI."""
    return authority if ":" in authority else codes.AUTHORITY + authority


def patient(person: Person) -> dict[str, Json]:
    """Return the Patient of a person as their site knows them."""
    name: dict[str, Json] = {"use": "official", "text": person.family_name + person.given_name}
    if person.family_name:
        name["family"] = person.family_name
    if person.given_name:
        name["given"] = [person.given_name]
    names: list[Json] = [name] if name["text"] else []
    if person.name_en:
        names.append({"use": "usual", "text": person.name_en})
    resource: dict[str, Json] = {
        "resourceType": "Patient",
        "id": person.person_id,
        "meta": {"lastUpdated": instant(person.updated_ns, timedelta(0))},
    }
    identifiers = [{"system": system_of(system), "value": value} for system, value in person.identifiers if value]
    if identifiers:
        resource["identifier"] = identifiers
    if names:
        resource["name"] = names
    if person.phone:
        resource["telecom"] = [{"system": "phone", "value": person.phone}]
    resource["gender"] = person.gender if person.gender in _GENDERS else "unknown"
    if _DATE.fullmatch(person.birth_date):
        resource["birthDate"] = person.birth_date
    return resource


def device_id(site: str, node: str, device: str) -> str:
    """Return the FHIR id of a device: its names where they fit into 64 characters, else their hash."""
    name = f"{site}.{node}.{device}"
    return name if len(name) <= 64 else hashlib.sha256(name.encode()).hexdigest()


def device(found: Device) -> dict[str, Json]:
    """Return the Device as its node described it."""
    identifiers: list[Json] = [{"system": codes.LOCAL_DEVICE, "value": f"{found.site}/{found.node}/{found.device}"}]
    if found.eui64:
        identifiers.insert(0, {"system": codes.EUI64, "value": found.eui64})
    resource: dict[str, Json] = {
        "resourceType": "Device",
        "id": device_id(found.site, found.node, found.device),
        "meta": {"lastUpdated": instant(found.updated_ns, timedelta(0))},
        "identifier": identifiers,
        "status": "active",
        "deviceName": [{"name": found.model or found.device, "type": "model-name" if found.model else "other"}],
    }
    if found.model:
        resource["modelNumber"] = found.model
    if found.family:
        resource["type"] = {"text": found.family}
    return resource

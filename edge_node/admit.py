"""`edge-node admit`: puts people into beds from a file while the node is stopped; twice is harmless."""

import time
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError, model_validator
from telemed import consent
from telemed.consent import NAMED, TIMED, Purpose
from telemed.v1 import event_pb2

from edge_node.buffer.store import Buffer
from edge_node.config import BedCode, EdgeConfig, Section
from edge_node.errors import ConfigRefused
from edge_node.folder_lock import only_one
from edge_node.placement import NODE_ROLE
from edge_node.samples.identifiers import uuid7
from edge_node.samples.roster import Roster, build


class IdentifierRow(Section):
    """An identifier with its authority."""

    system: str = Field(min_length=1, description="Assigning authority, e.g. BAOSHAN.")
    value: str = Field(min_length=1, description="The identifier itself, as devices send it in PID-3.")


class PersonRow(Section):
    """One person and the bed they lie in."""

    bed: BedCode = Field(description="Bed of this site.")
    family_name: str = Field(min_length=1, description="Family name.")
    given_name: str = Field(default="", description="Given name.")
    name_en: str = Field(default="", description="Name on English screens.")
    gender: Literal["male", "female", "other", "unknown"] = Field(default="unknown", description="FHIR gender.")
    birth_date: date | Literal[""] = Field(default="", description="ISO 8601 date, or empty.")
    identifiers: list[IdentifierRow] = Field(min_length=1, description="By these the person is recognised.")
    phone: str = Field(default="", description="Telephone.")
    caregiver: str = Field(default="", description="User name of the caregiver who may see this person.")
    caregiver_calls: str = Field(default="", description="What the caregiver calls this person.")
    allergies: str = Field(default="", description="Allergies, in words.")
    note: str = Field(default="", description="What everybody at the bed should know.")
    episode_class: Literal["CHRONIC", "HOMEWARD", "ACUTE", "VISITOR"] = Field(
        default="CHRONIC", description="Why the person is here."
    )
    consents: list[Purpose] = Field(
        default_factory=list,
        description="What the person agreed to on paper kept at the site: C1, C2 ...; C5 is the caregiver's access.",
    )
    since: AwareDatetime | None = Field(
        default=None,
        description="Since when the person lies there: what was measured before is not theirs.",
    )

    def from_ns(self, now_ns: int) -> int:
        """Return the beginning of the stay in ns since the epoch; never in the future."""
        return now_ns if self.since is None else min(now_ns, int(self.since.timestamp()) * 1_000_000_000)

    @model_validator(mode="after")
    def _consents_can_be_on_paper(self) -> "PersonRow":
        timed = TIMED & set(self.consents)
        if timed:
            raise ValueError(f"{min(timed)} ends at a time of its own: record it at the bedside")
        if not self.caregiver and NAMED & set(self.consents):
            raise ValueError("C5 is the access of a caregiver, and none is named")
        return self


class AdmissionFile(Section):
    """The whole file."""

    persons: list[PersonRow] = Field(min_length=1, description="Persons with their beds.")


def load(path: Path, config: EdgeConfig) -> AdmissionFile:
    """Return what the file asks for.

    Raises:
        ConfigRefused: unreadable, not TOML, a wrong key or value, or a bed that this site does not have.
    """
    try:
        found = AdmissionFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigRefused(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors()]
        raise ConfigRefused("\n".join(lines)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigRefused(f"{path}: not valid TOML: {error}") from error
    beds = {row.bed for row in config.beds}
    for row in found.persons:
        if row.bed not in beds:
            raise ConfigRefused(f"{path}: bed {row.bed} is not in [[beds]] of the configuration")
    return found


def admissions(asked: AdmissionFile, roster: Roster, config: EdgeConfig, now_ns: int) -> Iterator[event_pb2.Event]:
    """Yield the events that are still needed so that each person lies in their bed."""
    for row in asked.persons:
        person_id = _known(row, roster)
        if person_id is None:
            person_id = uuid7(now_ns)
            event = _event(config, "person", person_id, roster, now_ns)
            event.person_registered.CopyFrom(_registered(row))
            roster.take(event)
            yield event
        if roster.beds.get(row.bed) != person_id:
            event = _event(config, "bed", row.bed, roster, now_ns)
            event.bed_assigned.CopyFrom(
                event_pb2.BedAssigned(
                    person_id=person_id, from_unix_ns=row.from_ns(now_ns), episode_class=row.episode_class
                )
            )
            roster.take(event)
            yield event
        yield from _agreements(row, person_id, roster, config, now_ns)


def _agreements(
    row: PersonRow, person_id: str, roster: Roster, config: EdgeConfig, now_ns: int
) -> Iterator[event_pb2.Event]:
    """What the person agreed to on paper, where nothing was ever recorded: the file takes back no withdrawal."""
    for purpose in sorted(set(row.consents)):
        if roster.consent(person_id, purpose).version:
            continue
        event = _event(config, consent.AGGREGATE, consent.aggregate_id(person_id, purpose), roster, now_ns)
        event.consent_given.CopyFrom(
            event_pb2.ConsentGiven(
                person_id=person_id,
                purpose=purpose,
                grantee=row.caregiver if purpose in NAMED else "",
                giver="self",
                method="paper",
                text_version=consent.TEXT_VERSION,
            )
        )
        roster.take(event)
        yield event


async def admit(config: EdgeConfig, path: Path) -> int:
    """Propose what the file asks for and return how many events that took.

    Raises:
        ConfigRefused: the file is wrong, or the node is running.
    """
    asked = load(path, config)
    with only_one(config.buffer.folder):
        buffer = Buffer.open(config.buffer.folder)
        try:
            roster = build(await buffer.ordered_events(), await buffer.pending_events())
            needed = list(admissions(asked, roster, config, time.time_ns()))
            for event in needed:
                await buffer.propose(event)
            return len(needed)
        finally:
            buffer.close()


def _known(row: PersonRow, roster: Roster) -> str | None:
    wanted = {(found.system, found.value) for found in row.identifiers}
    for person in roster.persons.values():
        if wanted & {(known.system, known.value) for known in person.facts.identifiers}:
            return person.person_id
    return None


def _registered(row: PersonRow) -> event_pb2.PersonRegistered:
    return event_pb2.PersonRegistered(
        family_name=row.family_name,
        given_name=row.given_name,
        gender=row.gender,
        birth_date=str(row.birth_date),
        identifiers=[event_pb2.Identifier(system=found.system, value=found.value) for found in row.identifiers],
        phone=row.phone,
        caregiver=row.caregiver,
        caregiver_calls=row.caregiver_calls,
        allergies=row.allergies,
        note=row.note,
        name_en=row.name_en,
    )


def _event(config: EdgeConfig, kind: str, key: str, roster: Roster, now_ns: int) -> event_pb2.Event:
    node = config.node
    return event_pb2.Event(
        event_id=uuid7(now_ns),
        aggregate_type=kind,
        aggregate_id=key,
        base_version=roster.version(kind, key),
        at_unix_ns=now_ns,
        actor=event_pb2.Actor(username=node.node, role=NODE_ROLE, name_zh=node.name_zh, name_en=node.name_en),
    )

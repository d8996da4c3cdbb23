"""What people say about a file that is to be imported: whose it is, and what it shows.  Pure."""

import datetime
import tomllib
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError
from telemed import long_string

from edge_node.config import Section
from edge_node.importing.order import Subject
from edge_node.importing.reasons import NotImported, Reason
from edge_node.samples.roster import Person

ENDING = ".toml"
"""Behind the whole name of the file that it speaks of: scan.nii.gz.toml."""
LIMIT_BYTES = 16 * 1024
_SEX = {"male": "M", "female": "F", "other": "O"}


def _fitting(text: str) -> str:
    if not long_string.fits(text):
        raise PydanticCustomError(
            "long-string",
            "DICOM holds at most {most} characters, without line ends, other control characters and backslashes",
            {"most": long_string.MOST_CHARS},
        )
    return text


Words = Annotated[str, AfterValidator(_fitting)]
"""Text that an element of DICOM can hold as one value."""


class Ask(Section):
    """The content of such a file."""

    patient: Words = Field(min_length=1, description="Identifier of the person, as the site knows it.")
    issuer: Words = Field(default="", description="Who gave the identifier, where several people have it.")
    modality: Literal["", "CT", "MR", "XC", "DOC"] = Field(
        default="", description="CT or MR for volumes that do not say; XC for photos, DOC for PDF."
    )
    description: Words = Field(default="", description="What was examined, in a few words.")
    date: datetime.date | Literal[""] = Field(default="", description="Day of the examination; none: not known.")
    axes: Literal["", "LPS", "RAS"] = Field(
        default="",
        description="Where the axes of a volume point that does not say: left-back-head or right-front-head.",
    )

    @property
    def study_date(self) -> str:
        """As DICOM writes it, or empty."""
        return f"{self.date:%Y%m%d}" if self.date else ""


def load(raw: bytes) -> Ask:
    """Return what a file says.

    Raises:
        NotImported: it is not TOML, or says what it may not.
    """
    try:
        if len(raw) > LIMIT_BYTES:
            raise ValueError("too long")
        return Ask.model_validate(tomllib.loads(raw.decode("utf-8-sig")))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors())
        raise NotImported(Reason.SIDECAR_WRONG, told[:200]) from error
    except (ValueError, RecursionError) as error:
        raise NotImported(Reason.SIDECAR_WRONG, str(error)[:200]) from error


def dump(ask: Ask) -> bytes:
    """Return a file that says the same."""
    said = {name: str(value) for name, value in ask.model_dump(mode="json").items() if value}
    # A JSON text is one of TOML too.
    lines = (f"{name} = {_quoted(value) if name != 'date' else value}" for name, value in said.items())
    return ("\n".join(lines) + "\n").encode()


def person(ask: Ask, persons: Iterable[Person]) -> tuple[str, Subject]:
    """Return the id of the person who is meant, and what is written of them into every object.

    Raises:
        NotImported: nobody has that identifier, or several have.
    """
    found = [
        (each, identifier)
        for each in persons
        for identifier in each.facts.identifiers
        if identifier.value == ask.patient and ask.issuer in ("", identifier.system)
    ]
    if not found:
        raise NotImported(Reason.PERSON_UNKNOWN)
    if len({each.person_id for each, _ in found}) > 1 or len(found) > 1:
        raise NotImported(Reason.PERSON_AMBIGUOUS)
    whose, identifier = found[0]
    facts = whose.facts
    name = "^".join(_plain(part) for part in (facts.family_name, facts.given_name)).rstrip("^")
    born = facts.birth_date.replace("-", "")
    return whose.person_id, Subject(
        identifier.value, identifier.system, name, born if len(born) == 8 and born.isdigit() else "",
        _SEX.get(facts.gender, ""),
    )  # fmt: skip


def _plain(part: str) -> str:
    """Return a part of a name without what divides names in DICOM."""
    return "".join(" " if each in "^=\\" else each for each in part).strip()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'

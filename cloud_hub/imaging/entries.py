"""From what a reader says of a file to a row of the index, and from a manifest to whose it is.  Pure.

A reader's word is not trusted: a file may have taken it over.
"""

import json
import re
from typing import Any

from cloud_hub.store.studies import Announced, Entry

LEVEL_LIMIT_CHARS = 64 * 1024
LARGEST = 2**31 - 1
MOST_OBJECTS = 1_000_000
DESCRIPTION_LIMIT_CHARS = 200
_UID = re.compile(r"[0-9.]{1,64}")
_PERSON = re.compile(r"[A-Za-z0-9-]{0,36}")
_DAY = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")


class NoEntry(ValueError):
    """Nothing that the index takes."""


def entry(told: dict[str, Any]) -> Entry:
    """Return the row for what a reader told of a file.

    Raises:
        NoEntry: an identifier is missing or none, or a part of it is of another shape or length than agreed.
    """
    try:
        levels = told["levels"]
        study, series, instance = (_level(levels[name]) for name in ("study", "series", "instance"))
        uids = [_uid(first(level, tag)) for level, tag in _uids(study, series, instance)]
        return Entry(
            study_uid=uids[0],
            series_uid=uids[1],
            sop_uid=uids[2],
            transfer_syntax_uid=_uid(told["transfer_syntax_uid"]),
            study_date=_matching(_DAY, first(study, "00080020")),
            study_time=_matching(_TIME, first(study, "00080030")),
            modality=_word(first(series, "00080060")),
            series_number=_number(first(series, "00200011")),
            instance_number=_number(first(instance, "00200013")),
            frames=_number(told["frames"]),
            flaw=_word(told["flaw"]),
            study=_text(study),
            series=_text(series),
            instance=_text(instance),
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise NoEntry("not of the agreed shape") from error


def whose(told: dict[str, Any], group_id: str) -> tuple[str, int]:
    """Return whose study a manifest says it is, empty where nobody decided yet, and the manifest's generation.

    Raises:
        NoEntry: it is of another group, or says nothing that can be understood.
    """
    person_id, generation = told.get("person_id"), told.get("generation")
    if told.get("study_id") != group_id:
        raise NoEntry("of another study")
    if not isinstance(person_id, str) or not _PERSON.fullmatch(person_id):
        raise NoEntry("names no person")
    if not isinstance(generation, int) or not 0 <= generation <= LARGEST:
        raise NoEntry("no generation")
    return person_id, generation


def object_count(told: dict[str, Any]) -> int | None:
    """Return how many files of images a manifest names; None where that cannot be understood."""
    found = told.get("objects")
    return found if isinstance(found, int) and 0 <= found <= MOST_OBJECTS else None


def announced(told: dict[str, Any]) -> Announced | None:
    """Return what a manifest says of its study, to be listed by until images say more; None where it names none.

    Of its description so much is kept as people can read.
    """
    uid, modalities = told.get("study_uid"), told.get("modalities")
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        return None
    named = modalities if isinstance(modalities, list) else []
    study = {"0020000D": {"vr": "UI", "Value": [uid]}}
    written = "".join(each for each in str(told.get("description") or "") if each.isprintable())
    if description := written[:DESCRIPTION_LIMIT_CHARS]:
        study["00081030"] = {"vr": "LO", "Value": [description]}
    return Announced(
        uid, _matching(_DAY, told.get("study_date")), sorted({_word(one) for one in named} - {""}), _text(study)
    )


def sop_class(told: dict[str, Any]) -> str:
    """Return the SOP class that was told of a file of which there is an entry; empty where it is none."""
    found = first(_level(told["levels"]["instance"]), "00080016")
    return found if isinstance(found, str) and _UID.fullmatch(found) else ""


def first(level: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute in DICOM JSON; empty where there is none."""
    values = level.get(tag, {}).get("Value")
    return values[0] if isinstance(values, list) and values else ""


def _uids(*levels: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    return list(zip(levels, ("0020000D", "0020000E", "00080018"), strict=True))


def _level(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError("no level")
    return {tag: element for tag, element in found.items() if isinstance(element, dict)}


def _uid(value: Any) -> str:
    if not isinstance(value, str) or not _UID.fullmatch(value):
        raise NoEntry("no identifier")
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    text = str(value).strip()
    return text if pattern.fullmatch(text) else ""


def _word(value: Any) -> str:
    text = str(value).strip()
    return text if re.fullmatch(r"[A-Za-z0-9_ -]{0,16}", text) else ""


def _number(value: Any) -> int:
    try:
        found = int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0
    return max(-LARGEST, min(found, LARGEST))


def _text(level: dict[str, Any]) -> str:
    # ASCII: a NUL or half a surrogate pair from outside cannot stand in a text of PostgreSQL.  Infinity is no JSON.
    text = json.dumps(level, ensure_ascii=True, allow_nan=False)
    if len(text) > LEVEL_LIMIT_CHARS:
        raise NoEntry("too long")
    return text

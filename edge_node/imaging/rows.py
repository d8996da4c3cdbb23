"""The catalogue's rows: plain functions on a connection; those that change something run inside a transaction."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from edge_node.imaging.content import Content
from edge_node.imaging.judged import Verdict
from edge_node.imaging.pipe import Stored
from edge_node.imaging.study import MATCHED, Instance, Kept, Patient, Study
from edge_node.samples.identifiers import uuid7

_INSTANCE = tuple(field.name for field in fields(Instance))
_LISTED = "listed"
_WORDS = ("patient_id", "issuer", "patient_name", "birth_date", "sex", "study_date", "description")
"""Columns of a study that say something of a person."""
_AT_ONCE = 500


def take(connection: sqlite3.Connection, stored: Stored, now_ns: int) -> Verdict:
    """Note an object whose file is synced, and say what became of it; the same object is noted once."""
    uid = stored.content.sop_instance_uid
    versions = connection.execute(
        "SELECT sha256, version, kept FROM instance WHERE sop_instance_uid = ?", (uid,)
    ).fetchall()
    known = {row["sha256"]: row["version"] for row in versions}
    if stored.sha256 not in known:
        study_id = _study(connection, stored.content, now_ns, is_conflict=bool(known))
        _insert(connection, "instance", _instance_values(stored, study_id, len(known) + 1, now_ns))
        return Verdict.CONFLICT if known else Verdict.NEW
    if any(row["sha256"] == stored.sha256 and row["kept"] != Kept.HERE for row in versions):
        _note_back(connection, stored.sha256, now_ns)
    return Verdict.CONFLICT_KNOWN if known[stored.sha256] > 1 else Verdict.KNOWN


def studies(connection: sqlite3.Connection, limit: int = -1, after: str = "") -> list[Study]:
    """Return studies, the newest first: at most so many (-1: all) of those behind one; none where that is not there."""
    behind = (
        ", (SELECT last_ns AS ns, study_id AS id FROM study WHERE study_id = ?) "
        "WHERE last_ns < ns OR (last_ns = ns AND study_id > id)"
    )
    asked = f"SELECT study.* FROM study{behind if after else ''} ORDER BY last_ns DESC, study_id LIMIT ?"  # noqa: S608
    return [_as_study(row) for row in connection.execute(asked, (after, limit) if after else (limit,))]


def study(connection: sqlite3.Connection, study_id: str) -> Study | None:
    """Return one study; None where there is none."""
    row = connection.execute("SELECT * FROM study WHERE study_id = ?", (study_id,)).fetchone()
    return None if row is None else _as_study(row)


def study_id_of(connection: sqlite3.Connection, study_uid: str) -> str:
    """Return the id of the study of a UID; empty where there is none."""
    row = connection.execute("SELECT study_id FROM study WHERE study_key = ?", (study_uid,)).fetchone()
    return "" if row is None else str(row["study_id"])


def to_offer(connection: sqlite3.Connection) -> list[Study]:
    """Return the studies of which the hub has not been offered everything, the oldest first."""
    return _studies(connection, "generation > offered_generation")


def recent(connection: sqlite3.Connection, since_ns: int) -> list[Study]:
    """Return the studies of which something came since then, the oldest first."""
    return _studies(connection, f"last_ns >= {since_ns:d}")


def unassigned(connection: sqlite3.Connection) -> list[Study]:
    """Return the studies of which nobody knows whose they are."""
    return _studies(connection, "person_id = ''")


def mixed_matches(connection: sqlite3.Connection) -> list[Study]:
    """Return the studies that were matched to somebody before an object came that names another patient."""
    return _studies(connection, f"is_mixed AND assigned_by = '{MATCHED}'")


def version(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return what changes whenever something was written, by whomever."""
    (others,) = connection.execute("PRAGMA data_version").fetchone()
    return int(others), connection.total_changes


def instances(connection: sqlite3.Connection, study_id: str) -> list[Instance]:
    """Return the objects of a study, every content of each."""
    return _instances(connection, study_id, "TRUE")


def _instances(connection: sqlite3.Connection, study_id: str, which: str) -> list[Instance]:
    names, order = ", ".join(_INSTANCE), "series_uid, sop_instance_uid, version"
    asked = f"SELECT {names} FROM instance WHERE study_id = ? AND {which} ORDER BY {order}"  # noqa: S608
    return [Instance(**dict(row)) for row in connection.execute(asked, (study_id,))]


def instances_here(connection: sqlite3.Connection, study_id: str) -> list[Instance]:
    """Return the objects of a study whose files this node has."""
    return _instances(connection, study_id, f"kept = {Kept.HERE:d}")


def to_confirm(connection: sqlite3.Connection) -> list[Study]:
    """Return the studies that were offered whole, and of which it is not known that the hub has them."""
    return _studies(connection, "offered_generation = generation AND at_hub_generation < generation")


def note_at_hub(connection: sqlite3.Connection, study_id: str, generation: int, now_ns: int) -> None:
    """Note that the hub has a study as it was offered."""
    connection.execute(
        "UPDATE study SET at_hub_generation = ?, at_hub_ns = ? WHERE study_id = ?", (generation, now_ns, study_id)
    )


def at_hub(connection: sqlite3.Connection, since_ns: int) -> list[Study]:
    """Return the studies that are here, and that the hub has had whole since then or longer, the oldest first."""
    where = f"is_here AND at_hub_generation = generation AND at_hub_ns <= {since_ns:d}"
    return sorted(_studies(connection, where), key=lambda study: study.at_hub_ns)


def let_go(connection: sqlite3.Connection, study: Study) -> None:
    """Note that the files of a study are to be deleted, unless something of it came since it was looked at."""
    found = connection.execute(
        "UPDATE study SET is_here = 0 WHERE study_id = ? AND generation = ? AND at_hub_ns = ?",
        (study.study_id, study.at_hub_generation, study.at_hub_ns),
    )
    if found.rowcount:
        connection.execute(
            "UPDATE instance SET kept = ? WHERE study_id = ? AND kept = ?", (Kept.GOING, study.study_id, Kept.HERE)
        )


def erase(connection: sqlite3.Connection, persons: Sequence[str]) -> int:
    """Take what says something of these persons out of their studies, whose files are to be deleted.

    Returns of how many studies that was; what was erased before is none.
    """
    count = 0
    for at in range(0, len(persons), _AT_ONCE):
        some = persons[at : at + _AT_ONCE]
        whose = f"person_id IN ({', '.join('?' * len(some))})"
        told = " || ".join(_WORDS)
        found = connection.execute(f"SELECT study_id FROM study WHERE {whose} AND (is_here OR {told} != '')", some)  # noqa: S608
        for (study_id,) in found.fetchall():
            blank = ", ".join(f"{name} = ''" for name in _WORDS)
            connection.execute(f"UPDATE study SET is_here = 0, {blank} WHERE study_id = ?", (study_id,))  # noqa: S608
            connection.execute(
                "UPDATE instance SET series_description = '', kept = max(kept, ?) WHERE study_id = ?",
                (Kept.GOING, study_id),
            )
            count += 1
    return count


def shrink(connection: sqlite3.Connection) -> None:
    """Write the log into the file, and empty it."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def going(connection: sqlite3.Connection, limit: int) -> list[str]:
    """Return at most so many files that are to be deleted."""
    asked = "SELECT sha256 FROM instance WHERE kept = ? LIMIT ?"
    return [row["sha256"] for row in connection.execute(asked, (Kept.GOING, limit))]


def note_gone(connection: sqlite3.Connection, sha256s: Iterable[str]) -> None:
    """Note that files were deleted."""
    connection.executemany(
        "UPDATE instance SET kept = ? WHERE sha256 = ? AND kept = ?",
        ((Kept.GONE, each, Kept.GOING) for each in sha256s),
    )


def is_listed(connection: sqlite3.Connection) -> bool:
    """Return whether this file is known to list everything that lies among the objects."""
    return connection.execute("SELECT 1 FROM mark WHERE name = ?", (_LISTED,)).fetchone() is not None


def note_listed(connection: sqlite3.Connection) -> None:
    """Note that everything that lies among the objects is listed."""
    connection.execute("INSERT OR IGNORE INTO mark (name) VALUES (?)", (_LISTED,))


def has_file(connection: sqlite3.Connection, sha256: str) -> bool:
    """Return whether a file is that of an object that is to be here."""
    asked = "SELECT 1 FROM instance WHERE sha256 = ? AND kept = ?"
    return connection.execute(asked, (sha256, Kept.HERE)).fetchone() is not None


def assign(connection: sqlite3.Connection, study_id: str, person_id: str, by: str) -> bool:
    """Note whose a study is; False where there is no such study.  The hub is told by a new manifest."""
    found = connection.execute(
        "UPDATE study SET person_id = ?, assigned_by = ?, generation = generation + 1 WHERE study_id = ?",
        (person_id, by, study_id),
    )
    return found.rowcount == 1


def note_key_image(connection: sqlite3.Connection, study_id: str, sha256: str) -> None:
    """Note the picture of a study that was offered, or that none can be made."""
    connection.execute("UPDATE study SET key_image = ? WHERE study_id = ?", (sha256, study_id))


def not_offered(connection: sqlite3.Connection, study_id: str) -> list[Instance]:
    """Return what of a study was not offered yet."""
    return _instances(connection, study_id, "NOT is_offered")


def note_files(connection: sqlite3.Connection, sha256s: Iterable[str]) -> None:
    """Note that files were offered, whose content never changes: never again."""
    connection.executemany("UPDATE instance SET is_offered = 1 WHERE sha256 = ?", ((each,) for each in sha256s))


def note_offered(connection: sqlite3.Connection, study_id: str, generation: int) -> None:
    """Note what of a study was offered; what came meanwhile stays to be offered."""
    connection.execute("UPDATE study SET offered_generation = ? WHERE study_id = ?", (generation, study_id))


def count_of(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many studies, conflicts and studies without a person there are, and objects that are here."""
    row = connection.execute(
        "SELECT count(*) AS studies, coalesce(sum(person_id = ''), 0) AS unassigned, "
        "coalesce(sum(conflicts), 0) AS conflicts FROM study"
    ).fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM instance WHERE kept = ?", (Kept.HERE,)).fetchone()
    return {**dict(row), "objects": objects}


def _studies(connection: sqlite3.Connection, where: str) -> list[Study]:
    return [_as_study(row) for row in connection.execute(f"SELECT * FROM study WHERE {where} ORDER BY last_ns")]  # noqa: S608


def _study(connection: sqlite3.Connection, content: Content, now_ns: int, *, is_conflict: bool) -> str:
    """Return the id of the study of an object, which is made or brought up to date."""
    key = content.study_uid or f"object {content.sop_instance_uid}"
    row = connection.execute("SELECT study_id, patient_id, issuer FROM study WHERE study_key = ?", (key,)).fetchone()
    if row is None:
        study_id = uuid7()
        _insert(connection, "study", _study_values(content, study_id, key, now_ns))
        row = {"patient_id": content.patient_id, "issuer": content.issuer}
    else:
        study_id = str(row["study_id"])
    is_other = (row["patient_id"], row["issuer"]) != (content.patient_id, content.issuer)
    connection.execute(
        "UPDATE study SET last_ns = ?, generation = generation + 1, is_here = 1, is_mixed = is_mixed OR ?, "
        "conflicts = conflicts + ? WHERE study_id = ?",
        (now_ns, is_other, is_conflict, study_id),
    )
    return study_id


def _study_values(content: Content, study_id: str, key: str, now_ns: int) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "study_key": key,
        "study_uid": content.study_uid,
        "patient_id": content.patient_id,
        "issuer": content.issuer,
        "patient_name": content.patient_name,
        "birth_date": content.birth_date,
        "sex": content.sex,
        "study_date": content.study_date,
        "description": content.study_description,
        "person_id": "",
        "assigned_by": "",
        "is_mixed": 0,
        "conflicts": 0,
        "last_ns": now_ns,
        "generation": 0,
        "offered_generation": 0,
        "key_image": "",
        "at_hub_generation": 0,
        "at_hub_ns": 0,
        "is_here": 1,
    }


def _instance_values(stored: Stored, study_id: str, version: int, now_ns: int) -> dict[str, Any]:
    content = stored.content
    return {
        "sop_instance_uid": content.sop_instance_uid,
        "sha256": stored.sha256,
        "version": version,
        "study_id": study_id,
        "series_uid": content.series_uid,
        "sop_class_uid": content.sop_class_uid,
        "transfer_syntax": stored.transfer_syntax,
        "size_bytes": stored.size_bytes,
        "modality": content.modality,
        "series_description": content.series_description,
        "series_number": content.series_number,
        "instance_number": content.instance_number,
        "rows": content.rows,
        "columns": content.columns,
        "frames": content.frames,
        "fault": content.fault,
        "sender": stored.sender,
        "received_ns": now_ns,
        "is_offered": 0,
        "kept": Kept.HERE,
    }


def _note_back(connection: sqlite3.Connection, sha256: str, now_ns: int) -> None:
    """Note that a file that had been let go came again: somebody wants it here."""
    connection.execute("UPDATE instance SET kept = ? WHERE sha256 = ?", (Kept.HERE, sha256))
    connection.execute(
        "UPDATE study SET is_here = 1, at_hub_ns = CASE WHEN at_hub_ns THEN ? ELSE 0 END "
        "WHERE study_id IN (SELECT study_id FROM instance WHERE sha256 = ?)",
        (now_ns, sha256),
    )


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, Any]) -> None:
    names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608


def _as_study(row: sqlite3.Row) -> Study:
    patient = Patient(row["patient_id"], row["issuer"], row["patient_name"], row["birth_date"], row["sex"])
    return Study(
        row["study_id"],
        row["study_uid"],
        patient,
        row["study_date"],
        row["description"],
        row["person_id"],
        row["assigned_by"],
        bool(row["is_mixed"]),
        row["conflicts"],
        row["last_ns"],
        row["generation"],
        row["offered_generation"],
        row["key_image"],
        row["at_hub_generation"],
        row["at_hub_ns"],
        bool(row["is_here"]),
    )

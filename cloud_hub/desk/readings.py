"""Saying that a study has been read, or is to be read again; with its audit entry in one transaction."""

from sqlalchemy import Connection

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.errors import NotFound
from cloud_hub.store import accounts, studies
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.studies import Narrowing, Reading, Study

READ, UNREAD = "study-marked-read", "study-marked-unread"


def mark_read(connection: Connection, principal: Principal, study_key: str, shown: int, now_ns: int) -> None:
    """Note that somebody has read what they were shown of a study, so many images; more makes it unread again.

    Raises:
        NotFound: no such study whose record is open to the one who says so; one behind a broken glass is not.
    """
    study = _open_study(connection, principal, study_key)
    # What came while somebody looked was not looked at, and what is not there is not read in advance.
    looked_at = min(shown, study.instance_count)
    studies.note_read(connection, study_key, Reading(principal.username, now_ns, looked_at))
    _write_down(connection, principal, READ, study, now_ns)


def mark_unread(connection: Connection, principal: Principal, study_key: str, now_ns: int) -> None:
    """Note that a study is to be read again.

    Raises:
        NotFound: as for `mark_read`.
    """
    study = _open_study(connection, principal, study_key)
    studies.note_read(connection, study_key, None)
    _write_down(connection, principal, UNREAD, study, now_ns)


def _open_study(connection: Connection, principal: Principal, study_key: str) -> Study:
    asked = Narrowing(study_keys=frozenset({study_key}), with_announced=True)
    found = next(images.seen(connection, principal.for_changes(), asked), None)
    if found is None:
        raise NotFound("no such study within scope")
    return found


def _write_down(connection: Connection, principal: Principal, action: str, study: Study, now_ns: int) -> None:
    target, result = images.audited(principal, study)
    place = (study.region, study.site)
    entry = AuditEntry(now_ns, principal.username, principal.role, action, target, result, *place)
    accounts.write_audit(connection, entry)

"""Which bundle of a task serves, and what becomes of one that does not: a table, and the rows it moves.  Pure."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum

from telemed.bundle import Bundle, Refusal

from edge_node.inference.engine import EVERYWHERE, Choice

HISTORY = 20
"""Rows kept of bundles that are gone."""


class Stage(StrEnum):
    """Where a bundle stands at this node; stored and shown, never reworded."""

    TRIAL = "trial"
    PROBATION = "probation"  # serves, and the first failure brings the former one back
    SERVING = "serving"
    FORMER = "former"  # kept, to be gone back to
    REFUSED = "refused"
    ROLLED_BACK = "rolled-back"
    RETIRED = "retired"


class Event(StrEnum):
    """What happens to a bundle."""

    PASSED = "passed"  # its self-test
    FAILED = "failed"
    STEADY = "steady"  # ran often enough without a fault
    MISBEHAVED = "misbehaved"
    DAMAGED = "damaged"  # by the disk
    REPLACED = "replaced"  # another one of its task passed
    SPARED = "spared"  # likewise, and there is no steadier one to go back to
    NEEDED = "needed"  # the one after it misbehaved


TABLE: dict[tuple[Stage, Event], Stage] = {
    (Stage.TRIAL, Event.PASSED): Stage.PROBATION,
    (Stage.TRIAL, Event.FAILED): Stage.REFUSED,
    (Stage.PROBATION, Event.STEADY): Stage.SERVING,
    (Stage.PROBATION, Event.MISBEHAVED): Stage.ROLLED_BACK,
    (Stage.PROBATION, Event.DAMAGED): Stage.ROLLED_BACK,
    (Stage.PROBATION, Event.REPLACED): Stage.RETIRED,
    (Stage.PROBATION, Event.SPARED): Stage.FORMER,
    (Stage.SERVING, Event.DAMAGED): Stage.ROLLED_BACK,
    (Stage.SERVING, Event.REPLACED): Stage.FORMER,
    (Stage.FORMER, Event.NEEDED): Stage.SERVING,
    (Stage.FORMER, Event.REPLACED): Stage.RETIRED,
}
"""What is not here cannot happen."""
ON_DUTY = frozenset({Stage.PROBATION, Stage.SERVING})
KEPT = ON_DUTY | {Stage.FORMER}
"""Of these the files stay."""


@dataclass(frozen=True, slots=True)
class Row:
    """One bundle at this node."""

    bundle_id: str
    """Of one that was refused before its manifest was believed: the SHA-256 of its file."""
    task: str
    """Empty where nothing that it says of itself is believed."""
    version: str
    stage: Stage
    changed_ns: int
    reason: str = ""
    """One of `bundle.Refusal`, where it does not serve because of a fault."""
    detail: str = ""
    choice: Choice = EVERYWHERE
    """By what it is run."""
    offer: str = ""
    """What the machine offered when it was chosen: every library with its version and device."""


Rows = tuple[Row, ...]


def on_trial(rows: Rows, bundle: Bundle, now_ns: int) -> Rows:
    """Return the rows with a bundle on trial, whatever was known of it before."""
    others = tuple(row for row in rows if row.bundle_id != bundle.bundle_id)
    manifest = bundle.manifest
    return (*others, Row(bundle.bundle_id, manifest.task, manifest.version, Stage.TRIAL, now_ns))


def kept_all_the_same(rows: Rows, before: Row, fault: tuple[Refusal, str]) -> Rows:
    """Return the rows with a bundle as one to go back to, which it was before it came again and failed its trial.

    It has served here: a trial on a busy machine does not undo that.
    """
    row = replace(before, reason=fault[0], detail=fault[1])
    return tuple(row if each.bundle_id == before.bundle_id else each for each in rows)


def unbelieved(rows: Rows, sha256: str, refused: tuple[Refusal, str], now_ns: int) -> Rows:
    """Return the rows with a file that was refused before anything in it was believed."""
    row = Row(sha256, "", "", Stage.REFUSED, now_ns, refused[0], refused[1])
    return _bounded((*(each for each in rows if each.bundle_id != sha256), row))


def moved(rows: Rows, bundle_id: str, event: Event, now_ns: int, fault: tuple[str, str] = ("", "")) -> Rows:
    """Return the rows after an event, with what it means for the others of the task.

    The one that passed replaces the others; one that is replaced while on probation has shown little, so a former one
    stays the one to go back to.  Where the one on duty misbehaves or is damaged, the former one is needed.

    Raises:
        KeyError: this cannot happen to a bundle in its stage, or there is no such bundle.
    """
    row = next(each for each in rows if each.bundle_id == bundle_id)
    after = [_step(row, event, now_ns, fault) if each is row else each for each in rows]
    stages = {each.stage for each in rows if each.task == row.task}
    for at, other in enumerate(after):
        meant = _meant(other, event, stages) if other.task == row.task and other.bundle_id != bundle_id else None
        if meant is not None:
            after[at] = _step(other, meant, now_ns, ("", ""))
    return _bounded(after)


def on_duty(rows: Rows, task: str) -> Row | None:
    """Return the bundle that serves a task; None where none does."""
    return next((row for row in rows if row.task == task and row.stage in ON_DUTY), None)


def former(rows: Rows, task: str) -> Row | None:
    """Return the bundle of a task to go back to; None where there is none."""
    return next((row for row in rows if row.task == task and row.stage is Stage.FORMER), None)


def given_up_by(rows: Rows, row: Row, reason: Refusal) -> Event | None:
    """Return by which event one fault gives a bundle up; None where it goes on, or there is none to go back to.

    One fault is enough where it has shown nothing yet and another one has, and where its files are damaged.
    """
    if row.stage not in ON_DUTY or former(rows, row.task) is None:
        return None
    if reason is Refusal.HASH_WRONG:
        return Event.DAMAGED
    return Event.MISBEHAVED if row.stage is Stage.PROBATION else None


def _step(row: Row, event: Event, now_ns: int, fault: tuple[str, str]) -> Row:
    return replace(row, stage=TABLE[row.stage, event], changed_ns=now_ns, reason=fault[0], detail=fault[1])


def _meant(other: Row, event: Event, stages: Set[Stage]) -> Event | None:
    """Return what an event of one bundle is for another of its task, given the stages of all; None where nothing."""
    match event, other.stage:
        case Event.PASSED, Stage.PROBATION:
            return Event.REPLACED if Stage.FORMER in stages else Event.SPARED
        case Event.PASSED, Stage.SERVING:
            return Event.REPLACED
        case Event.PASSED, Stage.FORMER:
            return Event.REPLACED if Stage.SERVING in stages else None
        case ((Event.MISBEHAVED | Event.DAMAGED), Stage.FORMER):
            return Event.NEEDED
        case _:
            return None


def _bounded(rows: Sequence[Row]) -> Rows:
    gone = [row for row in rows if row.stage not in KEPT and row.stage is not Stage.TRIAL]
    forgotten = set(sorted(gone, key=lambda row: row.changed_ns)[: max(0, len(gone) - HISTORY)])
    return tuple(row for row in rows if row not in forgotten)

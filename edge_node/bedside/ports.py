"""What the bedside page needs from the rest of the node; `app` hands it in."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from telemed.screen import Consult, SignalView
from telemed.topics import Up
from telemed.v1 import event_pb2, uplink_pb2

from edge_node.config import EdgeConfig
from edge_node.samples.alarm import Alarm, Ask, Who
from edge_node.samples.current import BedNow
from edge_node.samples.measurement import Deliver
from edge_node.samples.roster import Roster
from edge_node.samples.score import News2


class WardView(Protocol):
    """Beds and alarms as the rules see them."""

    def bed(self, bed: str) -> BedNow:
        """Return the newest values at a bed."""

    def score(self, bed: str) -> News2 | None:
        """Return the early warning score at a bed."""

    def alarms(self) -> list[Alarm]:
        """Return the alarms that screens show, worst first."""

    async def act(self, alarm_id: str, ask: Ask, who: Who, cause_event_id: str = "") -> Alarm:
        """Do what a named person asks of an alarm."""


class AlarmWords(Protocol):
    """What stands beside an alarm or a value."""

    def text_of(self, alarm: Alarm) -> tuple[str, str]:
        """Return the alarm's words in Chinese and English."""

    def limits_of(self, measure: str) -> tuple[str | None, str | None]:
        """Return the warn limits of a measure."""

    def escalates_at_ns(self, alarm: Alarm) -> int | None:
        """Return when the next person is called."""


class CareLog(Protocol):
    """The site's event log."""

    @property
    def roster(self) -> Roster:
        """Who is who now."""

    def ordered(self, aggregate_type: str) -> Sequence[event_pb2.OrderedEvent]:
        """Return the hub's order of the events about one kind of thing."""

    def pending(self) -> Sequence[event_pb2.Event]:
        """Return what was proposed here and is not ordered yet."""

    async def propose(self, event: event_pb2.Event) -> None:
        """Store an event for the hub to order; returns after the synced commit."""


class LinkNow(Protocol):
    """The link to the hub at this moment."""

    @property
    def state(self) -> str:
        """live, weak, lost or never."""

    @property
    def since_ns(self) -> int:
        """Since when."""

    @property
    def last_hub_ns(self) -> int:
        """When the hub was last heard; 0 = not since the start."""

    @property
    def caught_up_to_ns(self) -> int:
        """Measurement time up to which everything of this node is at the hub; 0 = not known."""


class TrendStep(Protocol):
    """One step of a trend."""

    @property
    def measure(self) -> str:
        """Row of the measures table."""

    @property
    def at_ns(self) -> int:
        """Start of the step."""

    @property
    def low(self) -> float:
        """Lowest valid value."""

    @property
    def high(self) -> float:
        """Highest valid value."""

    @property
    def last(self) -> float:
        """Last valid value."""


class Consults(Protocol):
    """The consults of this node."""

    def consults(self) -> list[Consult]:
        """Return those that ring or are active."""

    def from_page(self, client: str, view: SignalView) -> None:
        """Take one signal of a page."""

    def page_gone(self, client: str) -> None:
        """A page closed."""


class Audit(Protocol):
    """The node's audit trail."""

    async def note(self, who: Who | None, action: str, target: str, result: str = "ok") -> None:
        """Write an entry; None = the node itself.  Returns after the synced commit, where the store takes it."""

    async def note_all(self, who: Who | None, entries: Iterable[tuple[str, str, str]]) -> None:
        """Write several (action, target, result) of one person by one commit."""


class PatientSaid(Protocol):
    """Whom images say they are of."""

    @property
    def patient_id(self) -> str:
        """Their identifier there."""

    @property
    def name(self) -> str:
        """As DICOM writes it."""

    @property
    def birth_date(self) -> str:
        """YYYYMMDD, or empty."""


class StudyNow(Protocol):
    """A study of images at this moment."""

    @property
    def study_id(self) -> str:
        """The node's own name for it."""

    @property
    def patient(self) -> PatientSaid:
        """Whom it says it is of."""

    @property
    def person_id(self) -> str:
        """Whom it is filed under; empty = nobody."""

    @property
    def assigned_by(self) -> str:
        """Who said so."""

    @property
    def study_date(self) -> str:
        """YYYYMMDD, or empty."""

    @property
    def description(self) -> str:
        """What was examined."""

    @property
    def is_mixed(self) -> bool:
        """Whether its images name more than one patient."""

    @property
    def conflicts(self) -> int:
        """Images with a second content."""

    @property
    def last_ns(self) -> int:
        """When its newest image came."""

    @property
    def is_here(self) -> bool:
        """Whether its files are on this node still."""


class FileNow(Protocol):
    """What became of a file that came piece by piece."""

    @property
    def status(self) -> int:
        """As C-STORE answers (PS3.4 table B.2-1); 0 = file and row are synced."""

    @property
    def sop_class_uid(self) -> str:
        """Empty, as the others, where the file does not say."""

    @property
    def study_uid(self) -> str:
        """Of its study."""

    @property
    def sop_instance_uid(self) -> str:
        """Of itself."""


class ArrivingFile(Protocol):
    """A file that comes piece by piece; dropped by whoever opened it, whatever became of it."""

    async def write(self, data: bytes) -> None:
        """Take the next piece."""

    async def keep(self) -> FileNow:
        """Have it taken in as one that came by C-STORE; returns after file and row are synced."""

    async def drop(self) -> None:
        """Delete what was written; idempotent."""


class StudiesView(Protocol):
    """The images that came to this node."""

    async def listed(self, limit: int, after: str = "") -> Sequence[StudyNow]:
        """Return at most so many studies, the newest first; of those behind one, where that is named."""

    async def found(self, study_id: str) -> StudyNow | None:
        """Return one study; None where there is none."""

    async def assign(self, study_id: str, person_id: str, by: str) -> bool:
        """File a study under a person; False where there is no such study.  Returns after the synced commit."""

    def arriving(self, sender: str, study_uid: str) -> ArrivingFile:
        """Return a file that is to come, of a study or (empty) of any."""


class BecameNow(Protocol):
    """What became of a file that was to be imported."""

    @property
    def is_imported(self) -> bool:
        """False: it is refused."""

    @property
    def text(self) -> str:
        """For people: Chinese, " / ", English."""


class ArrivingImport(Protocol):
    """A photo or document that comes piece by piece; dropped by whoever opened it, whatever became of it."""

    async def write(self, data: bytes) -> bool:
        """Take the next piece; False where the file is larger than it may be.  Raises OSError."""

    async def keep(self, patient: str, issuer: str, description: str) -> str:
        """Have it imported for who has that identifier; its id, empty where nothing came.  Raises OSError."""

    async def drop(self) -> None:
        """Delete what was written and not kept; idempotent."""


class ImportsView(Protocol):
    """Takes photos and documents of the page."""

    def arriving(self, ending: str, limit_bytes: int) -> ArrivingImport:
        """Return a file that is to come, of the kind that has this ending."""

    async def became(self, import_id: str) -> BecameNow | None:
        """Return what became of a file, None while nothing has; raises KeyError where there is none."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything the page is joined to."""

    config: EdgeConfig
    ward: WardView
    words: AlarmWords
    care: CareLog
    consults: Consults
    link: Callable[[], LinkNow]
    waiting: Callable[[], dict[Up, int]]
    stuck: Callable[[], Sequence[tuple[str, str]]]
    """Code and detail of what cannot go on."""
    radios: Callable[[], Sequence[uplink_pb2.Radio]]
    """What the modems see."""
    hours_left: Callable[[], float | None]
    trends: Callable[[Sequence[str], int, int, int], Awaitable[Iterable[TrendStep]]]
    link_gaps: Callable[[int, int], Awaitable[list[tuple[int, int]]]]
    """Times without contact to the hub between two moments, ns."""
    deliver: Deliver
    """For what is typed in at the bedside."""
    clock: Callable[[], int]
    """Nanoseconds since the Unix epoch."""
    audit: Audit
    studies: StudiesView | None = None
    """None where the node receives no images."""
    imports: ImportsView | None = None
    """Likewise."""
    sender_of: Callable[[str], str] = lambda _: ""
    """Returns the name of the device whose token that is, which stores images over HTTPS; empty = nobody's."""

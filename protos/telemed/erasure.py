"""What is taken out of the events about a person who is erased; the same in the hub's log and in the edge's.

Numbers, ids, times and authors stay, so that the log has no holes and its versions stay what they were.
"""

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet

from google.protobuf.message import Message

from telemed.v1 import alarm_pb2, event_pb2


def is_about(event: event_pb2.Event, persons: AbstractSet[str]) -> bool:
    """True where an event speaks of one of these persons; steps of a referral are known by its submission alone."""
    match event.WhichOneof("body"):
        case "person_registered":
            return event.aggregate_id in persons
        case "consent_given" | "consent_withdrawn":
            return event.aggregate_id.partition("/")[0] in persons
        case "referral_submitted":
            return event.referral_submitted.person_id in persons
    return False


def about(
    log: Iterable[event_pb2.OrderedEvent], persons: AbstractSet[str], numbers: Collection[int] = ()
) -> Iterator[event_pb2.OrderedEvent | None]:
    """Yield for each event of a site's log, in order, what is left of it; None where it is about nobody of these.

    Args:
        log: the events.
        persons: who were erased.
        numbers: of events that the hub knows to be about them too, which do not name them.
    """
    referrals, said = set[str](), frozenset(numbers)
    for ordered in log:
        event = ordered.event
        is_step = event.aggregate_type == "referral" and event.aggregate_id in referrals
        if not is_step and ordered.site_seq not in said and not is_about(event, persons):
            yield None
            continue
        if event.aggregate_type == "referral":
            referrals.add(event.aggregate_id)
        left = event_pb2.OrderedEvent()
        left.CopyFrom(ordered)
        redact(left.event)
        yield left


def redact(event: event_pb2.Event) -> None:
    """Take every word and number about the person out of an event, also what only newer software could read."""
    event.DiscardUnknownFields()
    match event.WhichOneof("body"):
        case "person_registered":
            gender = event.person_registered.gender
            event.person_registered.Clear()
            event.person_registered.gender = gender
            # An empty body would not be written at all, and the event would have none.
            event.person_registered.SetInParent()
        case "referral_submitted":
            _clear(event.referral_submitted, ("question", "callback", "main_signs", "readings", "anticoagulant"))
            _clear(event.referral_submitted, ("last_known_well_unix_ns", "last_known_well_code", "news2_total"))
        case "referral_moved":
            _clear(event.referral_moved, ("text",))
        case "alarm_action":
            _clear(event.alarm_action, ("text",))
        case "consent_given":
            _clear(event.consent_given, ("giver_name",))
        case "consent_withdrawn":
            _clear(event.consent_withdrawn, ("reason",))


def redact_alarm(step: alarm_pb2.AlarmEvent) -> None:
    """Take what people said, and the values, out of a step of an alarm; that there was one, when and by whom stays."""
    step.DiscardUnknownFields()
    _clear(step, ("note", "value", "text_zh", "text_en"))


def _clear(body: Message, names: tuple[str, ...]) -> None:
    for name in names:
        body.ClearField(name)

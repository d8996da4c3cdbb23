"""What is left of the events about a person who is erased: numbers and ids, and no word."""

from telemed import erasure
from telemed.v1 import alarm_pb2, event_pb2

WORD = "谷雨生-13800138000"


def ordered(seq: int, kind: str, key: str, **body: object) -> event_pb2.OrderedEvent:
    event = event_pb2.Event(event_id=f"e{seq}", aggregate_type=kind, aggregate_id=key, at_unix_ns=seq, **body)  # type: ignore[arg-type]
    return event_pb2.OrderedEvent(site_seq=seq, version=1, event=event)


def log(person: str = "p") -> list[event_pb2.OrderedEvent]:
    identifiers = [event_pb2.Identifier(system="BAOSHAN", value=WORD)]
    registered = event_pb2.PersonRegistered(family_name=WORD, gender="male", phone=WORD, identifiers=identifiers)
    submitted = event_pb2.ReferralSubmitted(person_id=person, question=WORD, callback=WORD, main_signs=["speech"])
    return [
        ordered(1, "person", person, person_registered=registered),
        ordered(2, "bed", "B01", bed_assigned=event_pb2.BedAssigned(person_id=person)),
        ordered(3, "referral", f"r-{person}", referral_submitted=submitted),
        ordered(4, "referral", f"r-{person}", referral_moved=event_pb2.ReferralMoved(to_state="CLOSED", text=WORD)),
        ordered(5, "consent", f"{person}/C1", consent_given=event_pb2.ConsentGiven(giver_name=WORD, purpose="C1")),
        ordered(6, "consent", f"{person}/C1", consent_withdrawn=event_pb2.ConsentWithdrawn(reason=WORD)),
    ]


def test_no_word_is_left_and_every_event_keeps_its_place() -> None:
    before = log()
    left = list(erasure.about(before, {"p"}))
    assert [one is None for one in left] == [False, True, False, False, False, False]
    for old, new in zip(before, left, strict=True):
        if new is not None:
            assert WORD.encode() not in new.SerializeToString()
            assert (new.site_seq, new.version) == (old.site_seq, old.version)
            assert new.event.WhichOneof("body") == old.event.WhichOneof("body")
            assert new.event.aggregate_id == old.event.aggregate_id
    moved = left[3]
    assert moved is not None
    assert moved.event.referral_moved.to_state == "CLOSED"
    assert WORD.encode() in before[0].SerializeToString()


def test_another_persons_events_are_left_alone() -> None:
    assert list(erasure.about(log("q"), {"p"})) == [None] * 6


def test_a_person_whose_id_begins_alike_is_another() -> None:
    assert list(erasure.about(log("p2"), {"p"})) == [None] * 6


def test_of_several_persons_as_much_is_left_as_of_one_after_the_other() -> None:
    rows = [*log("p"), *log("q"), *log("o")]
    said = [ordered(number, "alarm", f"a{number}", alarm_action=event_pb2.AlarmAction(text=WORD)) for number in (7, 8)]
    left = list(erasure.about([*rows, *said], {"p", "q"}, numbers=(8,)))
    apart = [list(erasure.about([*rows, *said], one, numbers)) for one, numbers in (({"p"}, ()), ({"q"}, (8,)))]
    assert left == [first or second for first, second in zip(*apart, strict=True)]
    assert [one is None for one in left[12:]] == [True] * 7 + [False]


def test_what_does_not_name_the_person_is_emptied_where_the_hub_says_so() -> None:
    said = ordered(7, "alarm", "a", alarm_action=event_pb2.AlarmAction(action="resolve", text=WORD))
    left = [one for one in erasure.about([said], {"p"}, numbers=(7,)) if one is not None]
    assert [one.event.alarm_action for one in left] == [event_pb2.AlarmAction(action="resolve")]
    assert list(erasure.about([said], {"p"}, numbers=(8,))) == [None]


def test_of_a_step_of_an_alarm_stays_that_it_was_when_and_by_whom() -> None:
    actor = event_pb2.Actor(username="clinic", role="clinic")
    step = alarm_pb2.AlarmEvent(
        alarm_id="a", alarm_seq=2, at_unix_ns=7, actor=actor, note=WORD, value="82", text_zh=WORD, text_en=WORD
    )
    # What only newer software could read may be words as well.
    newer = alarm_pb2.AlarmEvent.FromString(step.SerializeToString() + b"\xfa\x01\x01x")
    erasure.redact_alarm(newer)
    assert newer == alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=2, at_unix_ns=7, actor=actor)

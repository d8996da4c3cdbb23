"""A person taken out of the care database: no word about them in any table, on both databases."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.event import listen
from telemed.roles import Role
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.store import accounts, alarms, erasure, events, persons
from cloud_hub.store.accounts import Account
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from tests.telemed.test_erasure import WORD, log

NODE = NodeAddress("baoshan", "clinic", "edge-1")


def fill(connection: Any) -> None:
    accounts.save_account(connection, Account("clinic", Role.CLINIC, "黄", "H", (NODE.site,), "x"), 1)
    for person in ("p", "q"):
        for row in log(person):
            event = row.event
            event.event_id = f"{person}-{event.event_id}"
            event.actor.CopyFrom(event_pb2.Actor(username="clinic", role="clinic"))
            event.base_version = events.version(connection, NODE, event.aggregate_type, event.aggregate_id)
            if event.WhichOneof("body") == "referral_moved":
                event.referral_moved.to_state = "CANCELLED"
            if event.WhichOneof("body") == "consent_given":
                event.consent_given.MergeFrom(
                    event_pb2.ConsentGiven(person_id=person, giver="guardian", method="verbal")
                )
            if event.WhichOneof("body") == "consent_withdrawn":
                event.consent_withdrawn.MergeFrom(event_pb2.ConsentWithdrawn(person_id=person, purpose="C1"))
            taken = events.take_proposal(connection, NODE, event, 1)
            assert not taken.refused, taken
        step = alarm_pb2.AlarmEvent(alarm_id=f"a-{person}", alarm_seq=1, person_id=person, note=WORD, value="82")
        alarms.take_step(connection, NODE, step, 1)


def words_in(connection: Any) -> dict[str, int]:
    """Table to how many of its rows hold the word."""
    found = {}
    for table in CARE.sorted_tables:
        rows = [b"".join(_bytes(value) for value in row) for row in connection.execute(select(table))]
        found[table.name] = sum(WORD.encode() in row for row in rows)
    return {name: count for name, count in found.items() if count}


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def erase(connection: Any) -> event_pb2.OrderedEvent:
    event = event_pb2.Event(
        event_id="gone",
        aggregate_type="person",
        aggregate_id="p",
        base_version=1,
        person_erased=event_pb2.PersonErased(reason="retention"),
    )
    return events.append_hub_event(connection, NODE, event, 2)


def test_no_word_about_the_person_is_left_in_any_table_and_the_other_is_whole(care_db: Database) -> None:
    care_db.write_blocking(fill)
    before = care_db.read_blocking(words_in)
    versions = care_db.read_blocking(lambda c: [row.version for row in events.events_after(c, NODE.site, 0, 100)])
    assert before == {"event": 10, "person": 2, "alarm_step": 2}
    assert not care_db.write_blocking(erase).refused
    assert care_db.read_blocking(words_in) == {name: count // 2 for name, count in before.items()}
    after = care_db.read_blocking(lambda c: events.events_after(c, NODE.site, 0, 100))
    assert [row.version for row in after][: len(versions)] == versions
    assert [row.site_seq for row in after] == list(range(1, len(after) + 1))
    person = care_db.read_blocking(lambda c: persons.person(c, NODE.region, "p"))
    assert person is not None
    assert (person.family_name, person.identifiers) == ("", ())


def test_what_the_event_says_is_emptied_is_not_searched_for_again(care_db: Database) -> None:
    care_db.write_blocking(fill)
    asked = list[str]()
    listen(care_db._engine, "before_cursor_execute", lambda *args: asked.append(args[2]))

    def work(connection: Any) -> None:
        event = said("gone", "person", "p")
        event.base_version = 1
        event.person_erased.emptied.extend(erasure.numbers_about(connection, (NODE.region, NODE.site), "p"))
        assert not events.append_hub_event(connection, NODE, event, 2).refused

    care_db.write_blocking(work)
    assert care_db.read_blocking(words_in) == {"event": 5, "person": 1, "alarm_step": 1}
    assert sum("FROM event" in statement and "FROM alarm" in statement for statement in asked) == 1


def test_a_node_cannot_erase_anybody(care_db: Database) -> None:
    care_db.write_blocking(fill)
    event = event_pb2.Event(
        event_id="x", aggregate_type="person", aggregate_id="p", base_version=1, person_erased=event_pb2.PersonErased()
    )
    taken = care_db.write_blocking(lambda c: events.take_proposal(c, NODE, event, 2))
    assert (taken.refused, taken.refusal) == (True, "refused-rights")
    assert care_db.read_blocking(words_in)["person"] == 2


def said(event_id: str, kind: str, key: str, **body: Any) -> event_pb2.Event:
    actor = event_pb2.Actor(username="clinic", role="clinic")
    return event_pb2.Event(event_id=event_id, aggregate_type=kind, aggregate_id=key, actor=actor, **body)


def submitted(event_id: str, key: str, person: str) -> event_pb2.Event:
    body = event_pb2.ReferralSubmitted(person_id=person, question=WORD, callback=WORD)
    return said(event_id, "referral", key, referral_submitted=body)


def test_what_was_refused_and_what_was_said_to_an_alarm_loses_its_words_too(care_db: Database) -> None:
    def say(connection: Any) -> None:
        fill(connection)
        for event in (submitted("again", "r-q", "p"), submitted("stranger", "r-x", "p")):
            event.actor.role = "physician"
            assert events.take_proposal(connection, NODE, event, 1).refused
        moved = event_pb2.ReferralMoved(to_state="CANCELLED", text=WORD)
        step = said("stranger's step", "referral", "r-x", referral_moved=moved)
        assert events.take_proposal(connection, NODE, step, 1).refused
        for person in ("p", "q"):
            body = event_pb2.AlarmAction(action="resolve", text=WORD)
            action = said(f"act-{person}", "alarm", f"a-{person}", alarm_action=body)
            assert not events.append_hub_event(connection, NODE, action, 1).refused

    care_db.write_blocking(say)
    assert care_db.read_blocking(words_in)["event"] == 15
    assert not care_db.write_blocking(erase).refused
    assert care_db.read_blocking(words_in)["event"] == 6


def test_what_comes_about_a_person_after_they_were_erased_is_kept_without_its_words(care_db: Database) -> None:
    def say(connection: Any) -> None:
        fill(connection)
        erase(connection)
        for row in log("p"):
            row.event.event_id = f"late-{row.event.event_id}"
            row.event.actor.CopyFrom(event_pb2.Actor(username="clinic", role="clinic"))
            row.event.base_version = events.version(connection, NODE, row.event.aggregate_type, row.event.aggregate_id)
            events.take_proposal(connection, NODE, row.event, 3)
        events.take_proposal(connection, NODE, submitted("new", "r-new", "p"), 3)
        body = event_pb2.AlarmAction(action="resolve", text=WORD)
        events.append_hub_event(connection, NODE, said("act", "alarm", "a-p", alarm_action=body), 3)
        events.append_hub_event(connection, NODE, said("act-q", "alarm", "a-q", alarm_action=body), 3)

    care_db.write_blocking(say)
    assert care_db.read_blocking(words_in) == {"event": 6, "person": 1, "alarm_step": 1}

"""Who is who out of the log, and which value is the newest."""

from datetime import date

from telemed.v1 import event_pb2

from edge_node.samples.current import BedNow
from edge_node.samples.identifiers import is_uuid7, uuid7
from edge_node.samples.measurement import Assignment, NumericSet, Origin, Quality, Value
from edge_node.samples.roster import build

NS = 1_000_000_000


def event(kind: str, key: str, **body: object) -> event_pb2.Event:
    return event_pb2.Event(event_id=f"{kind}-{key}", aggregate_type=kind, aggregate_id=key, **body)  # type: ignore[arg-type]


def born(day: str) -> event_pb2.PersonRegistered:
    return event_pb2.PersonRegistered(family_name="谷", birth_date=day, caregiver="daughter")


REGISTERED = event("person", "p", person_registered=born("1950-06-15"))
ASSIGNED = event("bed", "B1", bed_assigned=event_pb2.BedAssigned(person_id="p"))
AGREED = event(
    "consent",
    "p/C5",
    consent_given=event_pb2.ConsentGiven(person_id="p", purpose="C5", grantee="daughter", giver="self"),
)


def test_what_waits_lies_on_top_of_what_the_hub_ordered() -> None:
    ordered = [event_pb2.OrderedEvent(site_seq=1, version=3, event=REGISTERED)]
    roster = build(ordered, [ASSIGNED, AGREED])
    occupant = roster.occupant("B1")
    assert occupant is not None
    assert roster.version("person", "p") == 3
    assert roster.version("bed", "B1") == 0
    assert roster.beds_of("daughter") == {"B1"}
    assert roster.beds_of("") == set()


def test_family_sees_a_person_who_agreed_to_it_until_they_take_it_back() -> None:
    assert build([], [REGISTERED, ASSIGNED]).beds_of("daughter") == set()
    assert build([], [REGISTERED, ASSIGNED, AGREED]).beds_of("daughter") == {"B1"}
    gone = event("consent", "p/C5", consent_withdrawn=event_pb2.ConsentWithdrawn(person_id="p", purpose="C5"))
    assert build([], [REGISTERED, ASSIGNED, AGREED, gone]).beds_of("daughter") == set()
    # The hub ordered a newer consent meanwhile: what was taken back here counts on top of it.
    ordered = [event_pb2.OrderedEvent(site_seq=1, version=5, event=AGREED)]
    assert build(ordered, [REGISTERED, ASSIGNED, gone]).beds_of("daughter") == set()


def test_a_care_workers_persons_are_a_matter_of_the_care_team() -> None:
    account = event_pb2.AccountSet(username="worker", role="care-worker", persons=["p"])
    assert build([], [REGISTERED, ASSIGNED, event("account", "worker", account_set=account)]).beds_of("worker") == {
        "B1"
    }


def test_a_refused_event_changes_nothing() -> None:
    refused = event_pb2.OrderedEvent(site_seq=2, version=1, refused=True, event=ASSIGNED)
    assert build([event_pb2.OrderedEvent(site_seq=1, version=1, event=REGISTERED), refused], []).beds == {}


def test_a_person_lies_in_one_bed_and_leaves_it() -> None:
    moved = event("bed", "B2", bed_assigned=event_pb2.BedAssigned(person_id="p"))
    assert build([], [REGISTERED, ASSIGNED, moved]).beds == {"B2": "p"}
    assert build([], [REGISTERED, ASSIGNED, event("bed", "B1", bed_vacated=event_pb2.BedVacated())]).beds == {}


def test_a_stay_dated_back_before_the_present_one_does_not_take_over_its_measurements() -> None:
    first = event("bed", "B1", bed_assigned=event_pb2.BedAssigned(person_id="p", from_unix_ns=100))
    later = event("bed", "B1", bed_assigned=event_pb2.BedAssigned(person_id="q", from_unix_ns=150))
    back = event("bed", "B1", at_unix_ns=900, bed_assigned=event_pb2.BedAssigned(person_id="q", from_unix_ns=50))
    gone = event("bed", "B1", bed_vacated=event_pb2.BedVacated(at_unix_ns=200))
    assert build([], [first]).since_ns == {"B1": 100}
    assert build([], [first, later]).since_ns == {"B1": 150}
    assert build([], [first, back]).since_ns == {"B1": 900}
    assert build([], [first, gone]).since_ns == {"B1": 200}


def test_age_counts_whole_years_and_is_unknown_without_a_birth_date() -> None:
    person = build([], [REGISTERED]).persons["p"]
    assert person.age_years(date(2026, 6, 14)) == 75
    assert person.age_years(date(2026, 6, 15)) == 76
    assert (
        build([], [event("person", "q", person_registered=born(""))]).persons["q"].age_years(date(2026, 1, 1)) is None
    )


def numerics(text: str, measured_s: int, arrived_s: int | None = None, **more: object) -> NumericSet:
    arrived_ns = (measured_s if arrived_s is None else arrived_s) * NS
    return NumericSet("m", measured_s * NS, arrived_ns, (Value("hr", text, "/min"),), **more)  # type: ignore[arg-type]


def newest(*samples: NumericSet) -> str:
    now = BedNow("B1")
    for sample in samples:
        now.take(sample)
    return now.held["hr"].value.value


def test_the_newest_measurement_wins_and_not_the_last_to_arrive() -> None:
    assert newest(numerics("80", 100), numerics("70", 40, 101)) == "80"
    assert newest(numerics("80", 100), numerics("70", 100)) == "70"


def test_a_device_with_a_wrong_clock_is_taken_by_arrival() -> None:
    assert newest(numerics("80", 100), numerics("70", 0, 101, clock_suspect=True)) == "70"


def test_a_test_message_does_not_hide_a_live_value() -> None:
    assert newest(numerics("80", 100), numerics("70", 101, origin=Origin.TEST)) == "80"
    assert newest(numerics("80", 100), numerics("70", 161, origin=Origin.TEST)) == "70"
    assert newest(numerics("70", 100, origin=Origin.REPLAY), numerics("80", 50, 101)) == "80"


def test_a_set_of_somebody_else_is_counted_and_not_shown() -> None:
    now = BedNow("B1")
    now.take(numerics("80", 100, assignment=Assignment.UNASSIGNED))
    assert (now.held, now.unassigned) == ({}, 1)
    now.take(numerics("80", 101))
    assert now.unassigned == 0


def test_a_value_that_the_device_says_is_missing_replaces_the_one_before() -> None:
    now = BedNow("B1")
    now.take(numerics("80", 100))
    now.take(NumericSet("m", 101 * NS, 101 * NS, (Value("hr", "", "/min", Quality.MISSING),)))
    assert not now.held["hr"].may_count


def test_ids_sort_by_birth() -> None:
    ids = [uuid7(second * NS) for second in range(1, 50)]
    assert ids == sorted(ids)
    assert all(is_uuid7(one) for one in ids)
    assert not is_uuid7("123e4567-e89b-42d3-a456-426614174000")

"""People put into beds from a file, and what the hub is told of the set-up: each once."""

from pathlib import Path

import pytest
from telemed.v1 import event_pb2

from edge_node import admit, placement
from edge_node.config import EdgeConfig
from edge_node.errors import ConfigRefused
from edge_node.samples.roster import Roster, build

NOW_NS = 1_800_000_000 * 10**9
CONFIG = EdgeConfig.model_validate(
    {
        "node": {"region": "r", "site": "s", "node": "n", "name_zh": "站", "name_en": "Site"},
        "buffer": {"folder": "b"},
        "uplink": {"secret_file": "x"},
        "beds": [{"bed": "B01", "label": "01"}, {"bed": "B02", "label": "02"}],
        "devices": [
            {"device": "m1", "family": "hl7_monitor", "bed": "B01", "application": "MON"},
            {"device": "cam", "family": "camera", "bed": "B01", "source": "x.mp4"},
        ],
    }
)
PEOPLE = """
[[persons]]
bed = "B01"
family_name = "谷"
given_name = "雨生"
gender = "male"
birth_date = "1953-04-20"
identifiers = [{system = "BAOSHAN", value = "P-1"}]
"""


def ordered(events: list[event_pb2.Event]) -> list[event_pb2.OrderedEvent]:
    return [event_pb2.OrderedEvent(site_seq=number, version=1, event=event) for number, event in enumerate(events, 1)]


def asked(tmp_path: Path, text: str = PEOPLE) -> admit.AdmissionFile:
    path = tmp_path / "people.toml"
    path.write_text(text, encoding="utf-8")
    return admit.load(path, CONFIG)


def test_a_person_is_registered_and_put_into_bed_once(tmp_path: Path) -> None:
    people = asked(tmp_path)
    events = list(admit.admissions(people, Roster(), CONFIG, NOW_NS))
    assert [event.WhichOneof("body") for event in events] == ["person_registered", "bed_assigned"]
    assert events[1].bed_assigned.person_id == events[0].aggregate_id
    roster = build(ordered(events), [])
    assert list(admit.admissions(people, roster, CONFIG, NOW_NS)) == []
    occupant = roster.occupant("B01")
    assert occupant is not None
    assert (occupant.name, occupant.identifiers) == ("谷雨生", ("P-1",))


def test_what_was_agreed_on_paper_is_recorded_once_and_never_over_a_withdrawal(tmp_path: Path) -> None:
    people = asked(tmp_path, PEOPLE + 'caregiver = "daughter"\nconsents = ["C1", "C5"]\n')
    events = list(admit.admissions(people, Roster(), CONFIG, NOW_NS))
    person_id = events[0].aggregate_id
    given = {event.aggregate_id: event.consent_given for event in events[2:]}
    assert {key: one.grantee for key, one in given.items()} == {f"{person_id}/C1": "", f"{person_id}/C5": "daughter"}
    gone = event_pb2.Event(
        event_id="gone",
        aggregate_type="consent",
        aggregate_id=f"{person_id}/C5",
        consent_withdrawn=event_pb2.ConsentWithdrawn(person_id=person_id, purpose="C5"),
    )
    assert list(admit.admissions(people, build(ordered([*events, gone]), []), CONFIG, NOW_NS)) == []


def test_a_person_who_moved_is_moved_and_not_registered_again(tmp_path: Path) -> None:
    roster = build(ordered(list(admit.admissions(asked(tmp_path), Roster(), CONFIG, NOW_NS))), [])
    events = list(admit.admissions(asked(tmp_path, PEOPLE.replace("B01", "B02")), roster, CONFIG, NOW_NS))
    assert [(event.WhichOneof("body"), event.aggregate_id) for event in events] == [("bed_assigned", "B02")]
    assert roster.beds == {"B02": events[0].bed_assigned.person_id}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('bed = "B01"', 'bed = "B77"', "B77 is not in"),
        ('gender = "male"', 'gender = "m"', "gender"),
        ("birth_date", "born", "born"),
        ('"1953-04-20"', '"1953-13-40"', "birth_date"),
        ("[[persons]]", '[[persons]]\nconsents = ["C5"]', "none is named"),
        ("[[persons]]", '[[persons]]\nconsents = ["C6"]', "C6 ends at a time"),
        ("[[persons]]", '[[persons]]\nconsents = ["C0"]', "consents"),
        ("[[persons]]", "[[persons", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(ConfigRefused, match=reason):
        asked(tmp_path, PEOPLE.replace(old, new))


def test_the_hub_is_told_of_devices_manual_entries_and_the_site_only_when_they_changed() -> None:
    events = list(placement.changes(CONFIG, Roster(), NOW_NS))
    placed = {event.aggregate_id: event.device_placed for event in events if event.aggregate_type == "device"}
    assert set(placed) == {"m1", "cam", "manual-b01", "manual-b02"}
    assert (placed["cam"].has_camera, placed["manual-b02"].bed) == (True, "B02")
    described = events[-1].node_described
    assert [(row.bed, row.label) for row in described.beds] == [("B01", "01"), ("B02", "02")]
    roster = build(ordered(events), [])
    assert list(placement.changes(CONFIG, roster, NOW_NS)) == []
    moved = CONFIG.model_copy(update={"devices": [CONFIG.devices[0].model_copy(update={"bed": "B02"})]})
    assert [event.aggregate_id for event in placement.changes(moved, roster, NOW_NS)] == ["m1"]
    assert next(placement.changes(moved, roster, NOW_NS)).base_version == 1


@pytest.mark.parametrize(
    ("since", "from_ns"),
    [
        ("", NOW_NS),
        ("since = 2026-11-19T08:00:00+08:00", 1_795_046_400 * 10**9),
        ("since = 2099-01-01T00:00:00Z", NOW_NS),
    ],
)
def test_a_stay_begins_when_the_file_says_and_never_in_the_future(tmp_path: Path, since: str, from_ns: int) -> None:
    events = list(admit.admissions(asked(tmp_path, PEOPLE + since), Roster(), CONFIG, NOW_NS))
    assert events[1].bed_assigned.from_unix_ns == from_ns


def test_a_time_without_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="since"):
        asked(tmp_path, PEOPLE + "since = 2026-11-19T08:00:00")

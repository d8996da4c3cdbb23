"""An erasure reaches every place that words can be in, on both databases of the hub; numbers and marks stay.

The words are planted by the ways they come in: as records of a node, through the hub's own intake.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
import zstandard
from sqlalchemy import Connection, LargeBinary, MetaData, String, select
from sqlalchemy.event import listen
from telemed.errors import Code
from telemed.reconcile import Mark
from telemed.roles import Role
from telemed.topics import Up
from telemed.transfer import FileKind
from telemed.v1 import alarm_pb2, event_pb2
from telemed.wire import Kind, Record, Stamp, encode, pack, seal

from cloud_hub.__main__ import main
from cloud_hub.audit_command import verify
from cloud_hub.care.finding_review import Report, Review, Said, Told, Verdict, Word
from cloud_hub.care.retention import NS_PER_DAY
from cloud_hub.config import HubConfig, load
from cloud_hub.desk.intake import Intake
from cloud_hub.imaging import entries
from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch
from cloud_hub.ingest.stores import CareStore, SampleStore
from cloud_hub.store import accounts, broken_glass, engine, finding_reviews, holdings, persons, studies, transfers
from cloud_hub.store.accounts import Account
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.broken_glass import Broken
from cloud_hub.store.engine import Database
from cloud_hub.store.holdings import Name
from cloud_hub.store.intake import Taken
from cloud_hub.store.schema import CARE, SAMPLES
from cloud_hub.store.transfers import FileFacts
from tests.fakes.containers import CLINIC, EPOCH, numeric_set, of_schema
from tests.telemed.test_erasure import WORD, log

WHERE = (CLINIC.region, CLINIC.site)
LONG_AGO_DAYS = 6000
NOW_NS = time.time_ns()
BEDS = {"p": ("B01", "m-p"), "q": ("B02", "m-q")}
"""Bed of each person, and the monitor at it."""
NAMES = ("node/care", "node/alarm", "m-p/numeric", "m-q/numeric")


def ago(days: float) -> int:
    return NOW_NS - int(days * NS_PER_DAY)


def sealed(kind: Kind, body: bytes, stream: str, seq: int, days: float = LONG_AGO_DAYS) -> Record:
    codec, payload = pack(body)
    stamp = Stamp(ago(days), 1, 7, 0, 5)
    return seal(stream=stream, kind=kind, epoch=EPOCH, seq=seq, stamp=stamp, codec=codec, payload=payload)


def said(person: str, alarm_id: str, seq: int, bed: str) -> Record:
    step = alarm_pb2.AlarmEvent(
        alarm_id=alarm_id, alarm_seq=1, person_id=person, note=WORD, value="82", bed=bed, onset_unix_ns=ago(5995)
    )
    return sealed(Kind.ALARM_EVENT, step.SerializeToString(), "node/alarm", seq)


def measured(person: str, seq: int, value: str = "96", days: float = 5995) -> Record:
    sample = numeric_set(1, value)
    sample.measured_at_unix_ns, sample.claimed_patient_id = ago(days), WORD
    return sealed(Kind.NUMERIC_SET, sample.SerializeToString(), f"{BEDS[person][1]}/numeric", seq, days)


def events_of(person: str) -> list[event_pb2.Event]:
    """What a site says about a person, as it would be taken."""
    found = []
    for row in log(person):
        event = row.event
        event.event_id = f"{person}-{event.event_id}"
        event.actor.CopyFrom(event_pb2.Actor(username="clinic", role="clinic"))
        match event.WhichOneof("body"):
            case "referral_moved":
                event.referral_moved.to_state, event.base_version = "CANCELLED", 1
            case "consent_given":
                event.consent_given.MergeFrom(
                    event_pb2.ConsentGiven(person_id=person, giver="guardian", method="verbal")
                )
            case "consent_withdrawn":
                event.consent_withdrawn.MergeFrom(event_pb2.ConsentWithdrawn(person_id=person, purpose="C1"))
        if event.aggregate_type != "bed":
            found.append(event)
    body = event_pb2.AlarmAction(action="resolve", text=WORD)
    actor = event_pb2.Actor(username="clinic", role="clinic")
    said_to = event_pb2.Event(event_id=f"{person}-act", aggregate_type="alarm", aggregate_id=f"a-{person}", actor=actor)
    said_to.alarm_action.CopyFrom(body)
    return [*found, said_to]


@dataclass(frozen=True, slots=True)
class Hub:
    """Two databases with words in them."""

    config_file: Path
    config: HubConfig
    care: Database
    samples: Database
    care_store: CareStore
    sample_store: SampleStore

    def bring(self, up: Up, records: list[Record], days: float = LONG_AGO_DAYS) -> Taken:
        admission = admit(CLINIC, up, encode(records))
        batch = Batch(admission.records, admission.unusable, ago(days))
        if up is Up.VITALS:
            work: Callable[[Connection], Taken] = lambda c: self.sample_store.store(c, batch)  # noqa: E731
            return self.samples.write_blocking(work, self.sample_store.kept)
        return self.care.write_blocking(lambda c: self.care_store.store(c, batch))

    def bring_garbage(self, content: bytes, days: float) -> None:
        for up, database, store in (
            (Up.CARE, self.care, self.care_store),
            (Up.VITALS, self.samples, self.sample_store),
        ):
            admission = admit(CLINIC, up, content)
            batch = Batch(admission.records, admission.unusable, ago(days))
            database.write_blocking(lambda c, s=store, b=batch: s.store(c, b))  # type: ignore[misc]

    def words(self) -> dict[str, int]:
        """Table to how many of its rows hold the word."""
        found = dict[str, int]()
        for metadata, database in ((CARE, self.care), (SAMPLES, self.samples)):
            counts = database.read_blocking(lambda c, m=metadata: _words(c, m))  # type: ignore[misc]
            found |= {f"{database.name}.{table}": count for table, count in counts.items() if count}
        return found

    def marks(self) -> dict[str, list[Mark]]:
        """What the nightly comparison finds of each stream."""
        found = {}
        for stream in NAMES:
            name = Name(CLINIC, stream, EPOCH)
            database = self.care if name.is_care else self.samples
            held = database.read_blocking(lambda c, n=name: holdings.held(c, n, (1, 1024)))  # type: ignore[misc]
            found[stream] = held.in_order()
        return found

    def erase(self, *more: str) -> None:
        main(["erase", "p", *more, "--config", str(self.config_file)])


def _words(connection: Connection, metadata: MetaData) -> dict[str, int]:
    found = {}
    for table in metadata.sorted_tables:
        rows = [b"\n".join(unpacked(value) for value in row) for row in connection.execute(select(table))]
        found[table.name] = sum(WORD.encode() in row for row in rows)
    return found


def unpacked(value: Any) -> bytes:
    """The bytes of a value, with whatever is packed in them unpacked."""
    content = bytes(value) if isinstance(value, bytes | memoryview) else _plain(str(value)).encode()
    _, head, rest = content.partition(zstandard.FRAME_HEADER)
    return content + (zstandard.ZstdDecompressor().decompress(head + rest) if head else b"")


def _plain(text: str) -> str:
    """A text with the letters that JSON may write as their numbers."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)


@pytest.fixture
def hub(store_url: Callable[[str], str], tmp_path: Path) -> Iterator[Hub]:
    """A hub where two persons lay long ago, and words about them came in every way there is."""
    (tmp_path / "secrets.json").write_text('{"hub": {"secret": "s"}}')
    (tmp_path / "hub.toml").write_text(
        f'region = "{CLINIC.region}"\nname_zh = "中心"\nname_en = "Hub"\n'
        f'[store]\nsamples_url = "{store_url("samples")}"\ncare_url = "{store_url("care")}"\n'
        '[broker]\nsecrets_file = "secrets.json"\n'
    )
    config = load(tmp_path / "hub.toml")
    care, samples = (
        Database(config.store.care_url, CARE, "care"),
        Database(config.store.samples_url, SAMPLES, "samples"),
    )
    with closing(care), closing(samples):
        care.migrate()
        samples.migrate()
        made = Hub(tmp_path / "hub.toml", config, care, samples, CareStore(Intake(lambda _: None)), SampleStore())
        plant(made)
        yield made
    structlog.reset_defaults()


@pytest.fixture
def break_care(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which care breaks of whatever it is handed."""

    def broken(*_args: object) -> None:
        raise LookupError("cannot be folded")

    def work() -> None:
        for name in ("take_event", "take_alarm"):
            monkeypatch.setattr(hub.care_store._intake, name, broken)

    return work


def plant(hub: Hub) -> None:
    # Before anybody came: it cannot be about them.
    hub.bring_garbage(b"before " + WORD.encode(), LONG_AGO_DAYS + 100)
    hub.care.write_blocking(_people)
    blobs = Blobs(hub.config.rpc.folder)
    for person in BEDS:
        path = blobs.path(hash_of(person))
        path.parent.mkdir()
        path.write_bytes(file_of(person))
    seq = iter(range(1, 100))
    for person, (bed, _) in BEDS.items():
        of_person = events_of(person)
        alarms = [said(person, f"a-{person}", next(seq), bed), said("", f"nobody-{person}", next(seq), bed)]
        assert not hub.bring(Up.ALARM, alarms).buried
        records = [sealed(Kind.EVENT, event.SerializeToString(), "node/care", next(seq)) for event in of_person]
        assert not hub.bring(Up.CARE, records).buried
        # Numbers that were used already, with other content.
        again = [records[0]._replace(seq=records[1].seq), records[1]._replace(seq=records[0].seq)]
        clashing = [sealed(Kind.EVENT, one.body(), "node/care", one.seq) for one in again]
        assert len(hub.bring(Up.CARE, clashing).buried) == 2
        assert not hub.bring(Up.VITALS, [measured(person, 1), measured(person, 2)]).buried
        assert len(hub.bring(Up.VITALS, [measured(person, 2, "82")]).buried) == 1
        newer = of_schema(sealed(Kind.EVENT, WORD.encode(), "node/care", next(seq)), 2)
        assert not hub.bring(Up.CARE, [newer]).buried
    damaged = [sealed(Kind.ALARM_EVENT, b"\xff" + WORD.encode(), "node/alarm", 99)]
    assert len(hub.bring(Up.ALARM, damaged).buried) == 1
    hub.bring_garbage(b"after " + WORD.encode(), LONG_AGO_DAYS - 20)


def file_of(person: str) -> bytes:
    """The bytes of an image of a person."""
    return f"image of {person}: {WORD}".encode()


def hash_of(person: str) -> str:
    return hashlib.sha256(file_of(person)).hexdigest()


def _people(connection: Connection) -> None:
    accounts.save_account(connection, Account("clinic", Role.CLINIC, "黄", "H", (CLINIC.site,), "x"), 1)
    for person, (bed, device) in BEDS.items():
        placed = event_pb2.DevicePlaced(bed=bed, node=CLINIC.node)
        persons.place_device(connection, WHERE, device, placed, ago(7000))
        body = event_pb2.BedAssigned(person_id=person, from_unix_ns=ago(5999), episode_class="CHRONIC")
        persons.assign_bed(connection, WHERE, bed, body, person, ago(5999))
        persons.vacate_bed(connection, WHERE, bed, ago(5990))
        broken = Broken(f"b-{person}", *WHERE, person, "doctor", "physician", "other", WORD, 1, 2, 3)
        broken_glass.save(connection, broken, [])
        broken_glass.review(connection, broken.break_id, "lead", "justified", WORD, 4)
        _image(connection, person)


def _image(connection: Connection, person: str) -> None:
    """Index an image of a person that has words in its name and at each of its levels."""
    told: dict[str, Any] = {"transfer_syntax_uid": "1.2.840.10008.1.2.1", "frames": 1, "flaw": ""}
    uids = (("study", "0020000D"), ("series", "0020000E"), ("instance", "00080018"))
    told["levels"] = {level: {tag: {"Value": ["1.2"]}, "00081030": {"Value": [WORD]}} for level, tag in uids}
    facts = FileFacts(hash_of(person), 1, "0" * 64, FileKind.STUDY, WORD, f"g-{person}")
    row = transfers.offer(connection, CLINIC, facts, ago(5995))
    transfers.complete(connection, CLINIC, row.transfer_id, ago(5995))
    studies.add(connection, row, entries.entry(told), ago(5995))
    studies.tell_person(connection, row, person, 1)
    key = studies.key_of(*WHERE, f"g-{person}", "1.2")
    found, report = Said(WORD, "", (0.0, 0.0, 0.0), 1.0), Report(key, "1.2.1", "0" * 64, "cmb", "1", "0" * 64, 1)
    word = Word(Verdict.EDITED, "", found)
    review = Review(f"w-{person}", report, "2.25.1", Told(found, 0.5, "1.2", ""), 1, word, "clinic", "clinic", 1)
    assert finding_reviews.add(connection, WHERE, review)


BEFORE = {
    "care.alarm_step": 4,
    "care.break_glass": 2,
    "care.care_record": 18,
    "care.dead_letter": 7,
    "care.dicom_instance": 2,
    "care.dicom_series": 2,
    "care.dicom_study": 2,
    "care.event": 12,
    "care.finding_review": 2,
    "care.person": 2,
    "care.transfer": 2,
    "samples.dead_letter": 4,
    "samples.record": 4,
}
AFTER = {
    "care.alarm_step": 2,
    "care.break_glass": 1,
    "care.care_record": 8,  # those of the other person; of two of newer software nobody knows
    "care.dead_letter": 3,  # what came before, and the other person's two
    "care.dicom_instance": 1,
    "care.dicom_series": 1,
    "care.dicom_study": 1,
    "care.event": 6,
    "care.finding_review": 1,
    "care.person": 1,
    "care.transfer": 1,
    "samples.dead_letter": 2,  # what came before, and the other person's
    "samples.record": 2,
}


def test_no_word_about_the_person_is_left_in_any_table_and_the_other_is_whole(hub: Hub) -> None:
    assert hub.words() == BEFORE
    hub.erase("--apply")
    assert hub.words() == AFTER
    hub.erase("--apply")
    assert hub.words() == AFTER


def test_the_nightly_comparison_finds_the_records_that_it_found_before(hub: Hub) -> None:
    before = hub.marks()
    hub.erase("--apply")
    assert hub.marks() == {**before, "m-p/numeric": []}


def test_what_comes_again_is_known_and_brings_no_word_back(hub: Hub) -> None:
    records = [
        sealed(Kind.EVENT, event.SerializeToString(), "node/care", seq) for seq, event in enumerate(events_of("p"), 3)
    ]
    clash = sealed(Kind.EVENT, records[0].body(), "node/care", records[1].seq)
    hub.erase("--apply")
    taken = hub.bring(Up.CARE, [*records, clash], 0)
    assert (len(taken.fresh), taken.duplicates, taken.buried) == (0, len(records), [])
    assert hub.words() == AFTER


def test_what_comes_late_is_kept_and_counted_without_a_word(hub: Hub) -> None:
    hub.erase("--apply")
    late = [
        sealed(Kind.EVENT, event.SerializeToString(), "node/care", seq) for seq, event in enumerate(events_of("p"), 200)
    ]
    for record, event in zip(late, events_of("p"), strict=True):
        event.event_id = f"late-{event.event_id}"
        late[late.index(record)] = sealed(Kind.EVENT, event.SerializeToString(), "node/care", record.seq)
    steps = [said("p", "a-late", 201, "B01"), said("q", "a-late-q", 202, "B02")]
    assert len(hub.bring(Up.CARE, late, 0).fresh) == len(late)
    assert len(hub.bring(Up.ALARM, steps, 0).fresh) == 2
    assert hub.words() == {**AFTER, "care.alarm_step": 3, "care.care_record": 9}
    sent = {record.seq: record.crc for record in (*late, *steps)}
    held = {mark.seq: mark.crc for name in ("node/care", "node/alarm") for mark in hub.marks()[name]}
    assert sent.items() <= held.items()


def care(event: event_pb2.Event, seq: int) -> Record:
    return sealed(Kind.EVENT, event.SerializeToString(), "node/care", seq)


def of_clinic(event_id: str, kind: str, key: str, **body: Any) -> event_pb2.Event:
    actor = event_pb2.Actor(username="clinic", role="clinic")
    return event_pb2.Event(event_id=event_id, aggregate_type=kind, aggregate_id=key, actor=actor, **body)


def test_a_late_dead_letter_keeps_no_word_and_the_other_persons_is_whole(
    hub: Hub, break_care: Callable[[], None]
) -> None:
    hub.erase("--apply")
    other = {person: events_of(person)[0] for person in BEDS}
    for event in other.values():
        event.person_registered.phone = f"{WORD} again"
    clashing = [care(other["p"], 3), care(other["q"], 4)]
    assert [letter.reason for letter in hub.bring(Up.CARE, clashing, 0).buried] == [Code.KEY_CONFLICT] * 2
    assert hub.words() == {**AFTER, "care.dead_letter": 4}
    break_care()
    for event in other.values():
        event.event_id = f"late-{event.event_id}"
    broken = [care(other["p"], 301), care(other["q"], 302), said("p", "late", 303, "B01")]
    assert [letter.reason for letter in hub.bring(Up.CARE, broken[:2], 0).buried] == [Code.POISON] * 2
    assert [letter.reason for letter in hub.bring(Up.ALARM, broken[2:], 0).buried] == [Code.POISON]
    assert hub.words() == {**AFTER, "care.dead_letter": 5}
    held = {mark.seq: mark.crc for name in ("node/care", "node/alarm") for mark in hub.marks()[name]}
    assert {record.seq: record.crc for record in broken}.items() <= held.items()
    again = hub.bring(Up.CARE, [*clashing, *broken[:2]], 0)
    assert (again.fresh, again.buried) == ([], [])


def test_a_late_step_of_a_referral_that_was_refused_keeps_no_word(hub: Hub) -> None:
    hub.erase("--apply")
    moved = event_pb2.ReferralMoved(to_state="CANCELLED", text=WORD)
    for number, person in enumerate(("p", "stranger"), 300):
        key = f"r-late-{person}"
        # Nobody but the clinic refers: it is refused, and no referral comes of it.
        submitted = of_clinic(
            f"s-{person}", "referral", key, referral_submitted=event_pb2.ReferralSubmitted(person_id=person)
        )
        submitted.actor.role = "physician"
        step = of_clinic(f"m-{person}", "referral", key, referral_moved=moved)
        assert len(hub.bring(Up.CARE, [care(submitted, 2 * number), care(step, 2 * number + 1)], 0).fresh) == 2
    assert hub.words() == {**AFTER, "care.event": 7, "care.care_record": 9}


def test_a_late_alarm_of_nobody_at_their_bed_keeps_no_word_nor_does_what_was_said_to_it(hub: Hub) -> None:
    hub.erase("--apply")
    steps = [said("", "nobody-late", 210, "B01"), said("", "nobody-late-q", 211, "B02"), said("", "nowhere", 212, "")]
    assert len(hub.bring(Up.ALARM, steps, 0).fresh) == 3
    answer = event_pb2.AlarmAction(action="resolve", text=WORD)
    acted = [of_clinic(key, "alarm", key, alarm_action=answer) for key in ("nobody-late", "nobody-late-q", "nobody-p")]
    assert len(hub.bring(Up.CARE, [care(event, seq) for seq, event in enumerate(acted, 310)], 0).fresh) == 3
    assert hub.words() == {**AFTER, "care.alarm_step": 4, "care.care_record": 11, "care.event": 7}


def test_a_late_consent_is_judged_with_its_words_and_kept_without(hub: Hub) -> None:
    hub.erase("--apply")
    given = event_pb2.ConsentGiven(person_id="p", purpose="C4", giver="guardian", giver_name=WORD, method="verbal")
    assert len(hub.bring(Up.CARE, [care(of_clinic("c", "consent", "p/C4", consent_given=given), 320)], 0).fresh) == 1
    log_ = CARE.tables["event"]
    of_it = select(log_.c.refused, log_.c.refusal).where(log_.c.event_id == "c")
    assert hub.care.read_blocking(lambda c: c.execute(of_it).all()) == [(False, "")]
    assert hub.words() == AFTER


def test_whether_somebody_was_erased_is_asked_once_for_an_event(hub: Hub) -> None:
    asked = list[str]()
    listen(hub.care._engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    event = events_of("q")[0]
    event.event_id = "once"
    assert len(hub.bring(Up.CARE, [care(event, 330)], 0).fresh) == 1
    assert sum("FROM person" in statement and "identifiers =" in statement for statement in asked) == 1


def test_what_was_looked_at_before_the_erasure_is_committed_before_it_too(hub: Hub) -> None:
    if not hub.care.is_postgres:
        pytest.skip("SQLite has one writer")
    admission = admit(CLINIC, Up.ALARM, encode([said("p", "a-race", 220, "B01")]))
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as other:
        with hub.care._engine.begin() as connection:
            hub.care_store.store(connection, Batch(admission.records, admission.unusable, NOW_NS))
            erasing = other.submit(hub.erase, "--apply")
            while not erasing.done() and not connection.exec_driver_sql(waits).scalar():
                pass
        erasing.result()
    assert hub.words() == AFTER


def test_the_audit_trail_is_whole_and_names_the_erasure(hub: Hub) -> None:
    hub.erase("--apply")
    report = hub.care.read_blocking(lambda c: verify(c, hub.config, "", []))
    assert report.is_sound
    found = hub.care.read_blocking(lambda c: c.execute(select(CARE.tables["audit"].c.object)).scalars().all())
    assert found == ["Patient/p"]


def test_the_site_is_told_which_numbers_were_emptied(hub: Hub) -> None:
    hub.erase("--apply")
    log_ = CARE.tables["event"]
    bodies = hub.care.read_blocking(lambda c: c.execute(select(log_).order_by(log_.c.site_seq)).all())
    told = event_pb2.Event.FromString(bodies[-1].body).person_erased.emptied
    mine = [row.site_seq for row in bodies if row.event_id.startswith("p-")]
    assert list(told) == mine
    assert len(mine) == 6


def test_no_byte_of_it_stays_in_the_files_of_sqlite(hub: Hub, tmp_path: Path) -> None:
    if hub.care.is_postgres:
        pytest.skip("PostgreSQL overwrites when it vacuums")
    rows = hub.care.read_blocking(lambda c: c.execute(select(CARE.tables["event"].c.body)).scalars().all())
    needles = [bytes(body) for body in rows if b"p-e" in body and WORD.encode() in body]
    records = [event.SerializeToString() for event in events_of("p")]
    needles += [pack(body)[1] for body in records if WORD.encode() in body] + [file_of("p")]
    # The files are whole once nobody has them open.
    hub.care.close()
    hub.samples.close()

    def holding() -> set[str]:
        files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".toml"]
        contents = {path.name: path.read_bytes() for path in files}
        return {name for name, content in contents.items() if any(needle in content for needle in needles)}

    assert holding() == {"care.db", hash_of("p")}
    hub.erase("--apply")
    assert holding() == set()
    assert Blobs(hub.config.rpc.folder).path(hash_of("q")).read_bytes() == file_of("q")


def test_no_byte_of_it_stays_in_the_write_ahead_log_of_a_hub_that_runs_unless_somebody_reads(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if hub.care.is_postgres:
        pytest.skip("PostgreSQL overwrites when it vacuums")
    monkeypatch.setattr(engine, "BUSY_S", 0.05)
    bodies = [row.body for row in hub.care.read_blocking(lambda c: c.execute(select(CARE.tables["event"])).all())]
    needles = [body for body in bodies if b"p-e" in body and WORD.encode() in body]

    def holding() -> set[str]:
        contents = {path.name: path.read_bytes() for path in tmp_path.glob("*.db*")}
        return {name for name, content in contents.items() if any(needle in content for needle in needles)}

    assert needles
    with hub.care._read_engine.connect() as reader:
        reader.execute(select(CARE.tables["event"])).all()
        hub.erase("--apply")
        assert holding() >= {"care.db-wal"}
    assert "log of care is being read" in capsys.readouterr().out
    hub.erase("--apply")
    assert holding() == set()
    assert "is being read" not in capsys.readouterr().out


NO_WORDS = {
    "account", "audit", "audit_chain", "audit_head", "blob", "boot_clock", "break_notice", "device", "device_place",
    "display", "edge_audit", "edge_head", "edge_trail", "identity", "node", "node_certificate", "node_token", "notice",
    "passkey", "reconciled", "reconciliation", "recovery_code", "release", "reopened", "session", "shed", "stream",
    "totp", "trend_cursor", "untimed_step", "watermark",
}  # fmt: skip
"""Tables of accounts, nodes, devices, files and trails: nothing in them is said about a patient."""
CODES = {
    "alarm": {"alarm_id", "bed", "device", "person_id", "condition", "node"},
    "alarm_step": {"alarm_id"},
    "dicom_file": {"transfer_id", "outcome"},
    "dicom_group": {"group_id", "person_id"},
    "bed_stay": {"bed", "person_id", "episode_class", "event_id"},
    "break_glass": {"break_id", "person_id", "username", "role", "reason_code", "reviewed_by", "verdict"},
    "care_record": {"epoch", "mark"},
    "care_team": {"person_id", "username", "added_by"},
    "consent": {"person_id", "purpose", "grantee"},
    "dead_letter": {"node", "stream", "epoch", "digest", "reason", "mark"},
    "event": {"event_id", "aggregate_type", "aggregate_id", "refusal", "author"},
    "person": {"person_id", "gender"},
    "record": {"epoch"},
    "referral_head": {"referral_id", "person_id", "state"},
    "transfer": {
        "transfer_id", "node", "sha256", "manifest_sha256", "kind", "group_id", "state", "code", "chunk_hashes", "have",
        "corrupt",
    },
    "trend": {"measure"},
}  # fmt: skip
"""Columns of ids and codes in the tables that are about patients."""
EMPTIED = {
    "alarm_step": {"body"},
    "break_glass": {"text", "review_text"},
    "care_record": {"payload"},
    "dead_letter": {"raw"},
    "dicom_instance": {
        "study_key", "sop_uid", "sha256", "series_uid", "transfer_syntax_uid", "flaw", "attributes",
    },
    "dicom_series": {"study_key", "series_uid", "modality", "attributes"},
    "dicom_study": {
        "study_key", "group_id", "study_uid", "study_date", "study_time", "modalities", "attributes", "read_by",
    },
    "event": {"body"},
    "finding_review": {
        "review_id", "study_key", "sop_uid", "sha256", "finding_uid", "verdict", "reason", "said", "told", "task",
        "task_version", "bundle_sha256", "username", "role",
    },
    "person": {
        "family_name", "given_name", "name_en", "birth_date", "identifiers", "phone", "caregiver", "caregiver_calls",
        "allergies", "note",
    },
    "record": {"payload"},
    "transfer": {"name"},
    "trend": {"low", "high", "last"},
}  # fmt: skip
"""Columns that an erasure empties, or whose rows it deletes."""


@pytest.mark.parametrize("metadata", [CARE, SAMPLES])
def test_of_every_column_somebody_has_decided_whether_an_erasure_must_reach_it(metadata: MetaData) -> None:
    for table in metadata.sorted_tables:
        if table.name in NO_WORDS:
            continue
        columns = {column.name for column in table.columns if isinstance(column.type, String | LargeBinary)}
        decided = CODES.get(table.name, set()) | EMPTIED.get(table.name, set())
        assert columns - {"region", "site"} == decided, table.name

"""The audit trail: published examples, and every way to tamper with a trail that was signed."""

import hashlib
import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from telemed import audit
from telemed.audit import Entry, Head, Link
from telemed.audit_check import TEXTS, Fault, Finding, Walk, first_fault
from telemed.audit_wire import entry_message, head_message, head_of, link_of

VECTORS = json.loads(Path(__file__).with_name("audit_vectors.json").read_text(encoding="utf-8"))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
TRAIL = "00112233445566778899aabbccddeeff"
FIELDS = ("actor", "role", "action", "target", "result", "region", "site")


def entry(number: int) -> Entry:
    return Entry(
        1_763_700_000_000_000_000 + number, "黄芪", "clinic", "patient-read", f"Patient/{number}", "ok", "b", "s"
    )


def trail(count: int) -> list[Link]:
    return audit.chain(TRAIL, 0, audit.begin(TRAIL), [entry(number) for number in range(count)])


def head(links: list[Link], n: int, key: Ed25519PrivateKey = KEY) -> Head:
    return audit.sign(key, TRAIL, n, links[n - 1].hash, 5)


def judged(links: list[Link], *heads: Head) -> Fault | None:
    return first_fault(Walk(TRAIL, heads, {audit.public_text(KEY)}), links)


def by_hand(trail_name: str, n: int, values: list[str], at_ns: int, prev_hash: str) -> str:
    """Hash an entry as the text of the format says, without the code of the product."""
    body = b"yuanzhen/audit/entry/1\0"
    raw = trail_name.encode()
    body += struct.pack(">I", len(raw)) + raw + n.to_bytes(8, "big") + bytes.fromhex(prev_hash)
    body += at_ns.to_bytes(8, "big", signed=True)
    for value in values:
        body += struct.pack(">I", len(value.encode())) + value.encode()
    return hashlib.sha256(body).hexdigest()


def test_the_published_examples_hold() -> None:
    name = VECTORS["trail"]
    assert audit.begin(name) == VECTORS["begin"]
    entries = [Entry(**row["entry"]) for row in VECTORS["entries"]]
    links = audit.chain(name, 0, audit.begin(name), entries)
    assert [(link.n, link.prev_hash, link.hash) for link in links] == [
        (row["n"], row["prev_hash"], row["hash"]) for row in VECTORS["entries"]
    ]
    told = Head(**VECTORS["head"])
    assert told.is_genuine
    signer = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["private_key"]))
    assert audit.sign(signer, name, told.n, told.hash, told.at_ns) == told


def test_the_published_examples_are_what_the_format_says() -> None:
    for row in VECTORS["entries"]:
        values = [row["entry"][field] for field in FIELDS]
        assert by_hand(VECTORS["trail"], row["n"], values, row["entry"]["at_ns"], row["prev_hash"]) == row["hash"]


def test_a_trail_as_it_was_written_is_in_order() -> None:
    links = trail(20)
    assert judged(links, head(links, 7), head(links, 20)) is None
    assert judged([]) is None


@pytest.mark.parametrize("field", [*FIELDS, "at_ns"])
def test_a_change_of_any_field_is_found_at_its_entry(field: str) -> None:
    links = trail(9)
    changed: dict[str, object] = {field: 7 if field == "at_ns" else "x"}
    links[4] = replace(links[4], entry=replace(links[4].entry, **changed))  # type: ignore[arg-type]
    assert judged(links) == Fault(Finding.ALTERED, 5)


@pytest.mark.parametrize("gone", [0, 3, 7])
def test_a_deleted_entry_is_named(gone: int) -> None:
    links = trail(9)
    del links[gone]
    assert judged(links) == Fault(Finding.MISSING, gone + 1)


def test_swapped_entries_are_found() -> None:
    links = trail(9)
    links[2], links[5] = replace(links[5], n=3), replace(links[2], n=6)
    assert judged(links) == Fault(Finding.ALTERED, 3)


def test_an_entry_that_was_put_in_is_found() -> None:
    links = trail(9)
    put_in = audit.chain(TRAIL, 4, links[3].hash, [entry(99)])
    rest = [replace(link, n=link.n + 1) for link in links[4:]]
    assert judged([*links[:4], *put_in, *rest], head(links, 9)) == Fault(Finding.ALTERED, 6)
    assert judged([*links[:4], *put_in, *links[4:]]) == Fault(Finding.EXTRA, 5)


def test_another_past_with_hashes_made_anew_differs_from_the_signed_head() -> None:
    links = trail(9)
    anew = audit.chain(TRAIL, 4, links[3].hash, [replace(link.entry, actor="nobody") for link in links[4:]])
    assert judged([*links[:4], *anew]) is None
    assert judged([*links[:4], *anew], head(links, 2), head(links, 9)) == Fault(Finding.REWRITTEN, 3)


def test_a_tail_that_was_signed_cannot_be_cut_unseen() -> None:
    links = trail(9)
    assert judged(links[:6], head(links, 9)) == Fault(Finding.CUT, 7)
    # What no head covers yet is the one thing that cannot be seen.
    assert judged(links[:8], head(links, 7)) is None


def test_a_link_to_another_entry_than_the_one_before_is_found() -> None:
    links = trail(3)
    links += audit.chain(TRAIL, 3, audit.begin(TRAIL), [entry(4)])
    assert judged(links) == Fault(Finding.UNLINKED, 4)


def test_a_head_of_another_key_or_trail_counts_for_nothing_and_is_told() -> None:
    links = trail(5)
    assert judged(links, head(links, 5, OTHER)) == Fault(Finding.HEAD_FORGED, 5)
    assert judged(links, replace(head(links, 5), n=4)) == Fault(Finding.HEAD_FORGED, 4)
    assert judged(links, replace(head(links, 5), signature="zz")) == Fault(Finding.HEAD_FORGED, 5)
    elsewhere = audit.sign(KEY, audit.new_trail(), 5, links[4].hash, 5)
    assert judged(links, elsewhere) == Fault(Finding.OTHER_TRAIL, 5)


@pytest.mark.parametrize("odd", [7.5, None, b"1"])
def test_whatever_a_table_may_hold_is_a_fault_and_no_crash(odd: object) -> None:
    (link,) = trail(1)
    changes = [{"actor": odd}, {"at_ns": odd}]
    damaged = [replace(link, entry=replace(link.entry, **change)) for change in changes]  # type: ignore[arg-type]
    damaged += [replace(link, prev_hash=odd), replace(link, hash=odd)]  # type: ignore[arg-type]
    for each in damaged:
        assert judged([each]) == Fault(Finding.ALTERED, 1)


def test_hundreds_of_random_tamperings_are_all_found() -> None:
    links = trail(40)
    heads = [head(links, n) for n in (10, 25, 40)]
    draw = random.Random(20261126)
    tamperings: list[Callable[[list[Link]], list[Link]]] = [
        lambda rows: rows[: draw.randrange(0, 40)],
        lambda rows: rows[draw.randrange(1, 41) :],
        lambda rows: _without(rows, draw.randrange(40)),
        lambda rows: _changed(rows, draw.randrange(40), draw.choice(FIELDS)),
        lambda rows: _swapped(rows, *draw.sample(range(40), 2)),
        lambda rows: _rewritten(rows, draw.randrange(40)),
    ]
    for _ in range(600):
        tampered = draw.choice(tamperings)(list(links))
        assert judged(tampered, *heads) is not None


def _without(rows: list[Link], at: int) -> list[Link]:
    return rows[:at] + rows[at + 1 :]


def _changed(rows: list[Link], at: int, field: str) -> list[Link]:
    value = getattr(rows[at].entry, field) + "."
    return [*rows[:at], replace(rows[at], entry=replace(rows[at].entry, **{field: value})), *rows[at + 1 :]]


def _swapped(rows: list[Link], one: int, two: int) -> list[Link]:
    rows[one], rows[two] = replace(rows[two], n=one + 1), replace(rows[one], n=two + 1)
    return rows


def _rewritten(rows: list[Link], at: int) -> list[Link]:
    before = rows[at - 1].hash if at else audit.begin(TRAIL)
    anew = [replace(row.entry, result="changed") for row in rows[at:]]
    return rows[:at] + audit.chain(TRAIL, at, before, anew)


def test_messages_and_lines_carry_everything() -> None:
    links = trail(2)
    assert [link_of(entry_message(TRAIL, link)) for link in links] == links
    told = head(links, 2)
    assert head_of(head_message(told)) == told
    assert audit.head_of_line(audit.head_line(told)) == told
    for line in ("", "[]", "{}", '{"trail": "x"}', "17"):
        with pytest.raises(ValueError, match=r".*"):
            audit.head_of_line(line)


@pytest.mark.parametrize(("n", "at_ns"), [(2**63, 5), (2**64 - 1, 5), (1, -1)])
def test_a_head_whose_numbers_no_database_can_hold_is_not_genuine(n: int, at_ns: int) -> None:
    assert audit.sign(KEY, TRAIL, 2**63 - 1, "0" * 64, 2**63 - 1).is_genuine
    assert not audit.sign(KEY, TRAIL, n, "0" * 64, at_ns).is_genuine


def test_an_entry_is_cut_and_cleaned_before_it_is_hashed() -> None:
    odd = Entry(1, "x" * 500, "r" * 99, "a", "y\0\ud800" + "z" * 500, "ok")
    (link,) = audit.chain(TRAIL, 0, audit.begin(TRAIL), [odd])
    assert (len(link.entry.actor), len(link.entry.target)) == (64, 120)
    assert link.entry.target.startswith("y\ufffd?z")
    assert judged([link]) is None


def test_every_finding_has_words_in_both_languages() -> None:
    assert set(TEXTS) == set(Finding)
    assert Fault(Finding.MISSING, 3).words() == ("第 3 条不见了", "entry 3 is missing")

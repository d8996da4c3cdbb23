"""I1 to I9 of reliability 2.9: functions from what was seen to what is wrong (pure).

Each returns the violations it finds, none if all is well.  `settled` means that everything had time to arrive: then
nothing may wait at the edge any more.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.chaos.ledger import Ledger
from tests.faults.chaos.seen import ALARM_KINDS, EdgeSeen, HubSeen, Stamped, StreamKey, Violation, kind_of

CONFLICT, FOR_ROOM, CLONED = "key-conflict", "disk", "node-cloned"
CERTIFICATES = "14"
BUNDLES = "18"
"""Faults 14 and 18 have conditions of their own: see reliability 2.10."""
SHOWN = 5
"""Examples named in one line."""
ALARM_LIMIT_S, LAG_LIMIT_S = 1.0, 2.0
TIME_SLACK_NS = 50_000_000
OFFSET_UNKNOWN_MS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Size:
    """How much something has, and how much it may have."""

    name: str
    used: float
    limit: float


def no_loss(edge: EdgeSeen, hub: HubSeen, *, settled: bool, hub_was_set_back: bool = False) -> list[Violation]:
    """I1: every number that was given out is at the hub, or declared, or waits at the edge.

    Args:
        edge: the node, dead; seen before the hub.
        hub: seen after the edge, so that it has at least what the edge was told.
        settled: nothing may wait any more.
        hub_was_set_back: it was put back to a backup and may still be lacking what the edge knows as acknowledged.
    """
    found = []
    for key, stream in edge.streams.items():
        at_hub, waiting = hub.has(key) | edge.gone(key), edge.crcs.get(key, {})
        missing = []
        for seq in range(1, stream.next_seq):
            may_wait = not settled and (seq > stream.acked or hub_was_set_back)
            if seq not in at_hub and not (may_wait and seq in waiting):
                missing.append(seq)
        if missing:
            where = "not at the hub" if settled else "neither at the hub nor waiting"
            found.append(_violation("I1", key, f"{where}: {_some(missing)} of {stream.next_seq - 1}"))
        if settled and stream.acked < stream.next_seq - 1:
            found.append(_violation("I1", key, f"acknowledged to {stream.acked} of {stream.next_seq - 1}"))
    return found


def no_duplicates(edge: EdgeSeen | None, hub: HubSeen) -> list[Violation]:
    """I2: one row a key at the hub, with the checksum that the edge has; no key was ever used twice."""
    found = []
    for key, page in hub.pages.items():
        seqs = [seq for seq, _ in page]
        doubled = sorted({seq for seq in seqs if seqs.count(seq) > 1}) if len(set(seqs)) < len(seqs) else []
        if doubled:
            found.append(_violation("I2", key, f"stored twice: {_some(doubled)}"))
        own = edge.crcs.get(key, {}) if edge else {}
        other = [seq for seq, crc in page if seq in own and own[seq] != crc]
        if other:
            found.append(_violation("I2", key, f"not what the edge has: {_some(other)}"))
    for key, letters in hub.dead.items():
        conflicts = [seq for seq, reason in letters.items() if reason == CONFLICT]
        if conflicts:
            found.append(_violation("I2", key, f"a number used for two records: {_some(conflicts)}"))
    return found


def acknowledged_is_stored(edge: EdgeSeen, hub: HubSeen, *, hub_was_set_back: bool = False) -> list[Violation]:
    """I3: the edge believes of no number that the hub has it which the hub has not; the hub claims none either.

    The hub was seen dead, and before the edge; or after it, which can only hide what the next look will show.
    """
    found = []
    for key, stream in edge.streams.items():
        mark = hub.marks.get(key)
        contig = mark.contig if mark else 0
        if stream.acked > contig and not hub_was_set_back:
            found.append(_violation("I3", key, f"acknowledged to {stream.acked}, the hub has up to {contig}"))
    return found + claims_are_true(hub)


def claims_are_true(hub: HubSeen) -> list[Violation]:
    """I3, the hub's half: each number below a watermark that is in no gap is stored, dead-lettered or declared."""
    found = []
    for key, mark in hub.marks.items():
        has = hub.has(key)
        gaps = {seq for first, last in mark.gaps for seq in range(first, last + 1)}
        untrue = [seq for seq in range(1, mark.max + 1) if seq not in has and seq not in gaps]
        if untrue:
            found.append(_violation("I3", key, f"the hub's watermark claims what is not there: {_some(untrue)}"))
    return found


def order_is_kept(before: HubSeen | None, hub: HubSeen) -> list[Violation]:
    """I4: a reader sees rising numbers, and no watermark goes back.  `before` is of the same life of the store."""
    found = []
    for key, page in hub.pages.items():
        back = [later for earlier, later in pairwise(seq for seq, _ in page) if later <= earlier]
        if back:
            found.append(_violation("I4", key, f"a reader's numbers do not rise at {_some(back)}"))
    for key, mark in before.marks.items() if before else ():
        now = hub.marks.get(key)
        if now is None or now.contig < mark.contig or now.max < mark.max:
            found.append(_violation("I4", key, f"watermark went back from {mark.contig} to {now and now.contig}"))
    return found


def promises_are_kept(
    ledger: Ledger, edge: EdgeSeen | None, hub: HubSeen, excused: frozenset[str] = frozenset()
) -> list[Violation]:
    """I5: every message that was acknowledged to its source has a row; with no edge: it is at the hub.

    `excused` are those whose row a damaged disk has taken, see `owned_up`.
    """
    kept = hub.sources | (edge.sources if edge else frozenset()) | excused
    broken = sorted(set(ledger.promises) - kept)
    if not broken:
        return []
    where = "at the edge or the hub" if edge else "at the hub"
    return [Violation("I5", f"acknowledged and not {where}: {_some(broken)} of {len(ledger.promises)}")]


def owned_up(before: EdgeSeen, edge: EdgeSeen, hub: HubSeen) -> frozenset[str]:
    """Return the messages whose row was there before a file was damaged and of which the loss is declared.

    Numbers that nothing in the damaged file tells of any more count too: nobody could declare those.
    """
    found = set()
    for source, (key, seq) in before.rows.items():
        if seq in edge.crcs.get(key, {}) or seq in {stored for stored, _ in hub.pages.get(key, ())}:
            continue
        stream = edge.streams.get(key)
        if stream is None or seq >= stream.next_seq or seq in edge.gone(key) or seq in hub.has(key):
            found.add(source)
    return frozenset(found)


def damage_is_told(before: EdgeSeen, edge: EdgeSeen, *, is_set_aside: bool, holds_all: bool = False) -> list[Violation]:
    """I1 of a damaged file: a row that is no longer there was waiting in a file that is kept aside for people.

    `holds_all` means that the damage hit no row, so that none may be missing.
    """
    lost = [
        f"{key[0]} {seq}"
        for key, rows in before.crcs.items()
        for seq in rows
        if seq > before.streams[key].acked and seq not in edge.crcs.get(key, {})
    ]
    if not lost or (is_set_aside and not holds_all):
        return []
    if is_set_aside:
        return [Violation("I1", f"rows that the damage did not hit are gone: {_some(lost)}")]
    return [Violation("I1", f"rows of a damaged file are gone and nobody is told: {_some(lost)}")]


def files_are_kept(promised: Iterable[str], hub: HubSeen) -> list[Violation]:
    """I1 of files, when settled: every file that was queued lies whole at the hub."""
    lost = sorted(set(promised) - hub.files)
    return [Violation("I1", f"files queued and not at the hub: {_some([each[:12] for each in lost])}")] if lost else []


def downloads_are_here(missing: Iterable[str]) -> list[Violation]:
    """I1 of files that come down, when settled: every file that was released to the node lies whole there."""
    lost = sorted(missing)
    return [Violation("I1", f"released and not at the node: {_some([each[:12] for each in lost])}")] if lost else []


def alarms_are_never_given_up(hub: HubSeen) -> list[Violation]:
    """I6, first half: no alarm is in a range that was declared given up for room."""
    return [
        _violation("I6", key, f"alarms given up: {_some([f'{first}-{last} {reason}' for first, last, reason in runs])}")
        for key, told in hub.shed.items()
        if (runs := [run for run in told if run[2] == FOR_ROOM]) and kind_of(key) in ALARM_KINDS
    ]


def unreadable_is_set_aside(key: StreamKey, count: int, hub: HubSeen) -> list[Violation]:
    """I1 and 2.7 of a stream whose odd numbers up to `count` are unreadable: set aside, and the even ones stored."""
    mark = hub.marks.get(key)
    if count == 0 or (mark and mark.contig >= count):
        dead, stored = set(hub.dead.get(key, {})), {seq for seq, _ in hub.pages.get(key, ())}
        wrong = [seq for seq in range(1, count + 1) if seq not in (dead if seq % 2 else stored)]
        return [_violation("I1", key, f"unreadable not set aside, or sound lost: {_some(wrong)}")] if wrong else []
    return [_violation("I1", key, f"unreadable records hold up their stream at {mark and mark.contig}")]


def clone_is_found(before: HubSeen, hub: HubSeen) -> list[Violation]:
    """I2 where two machines are one node: what was first stays, no number is used twice, and the operator is told."""
    found = no_duplicates(None, hub)
    for key, page in before.pages.items():
        now = dict(hub.pages.get(key, ()))
        changed = [seq for seq, crc in page if now.get(seq) != crc]
        if changed:
            found.append(_violation("I2", key, f"a second machine has replaced: {_some(changed)}"))
    if CLONED not in hub.notices:
        found.append(Violation("I2", "two machines speak under one name, and the hub has not noticed"))
    return found


def certificate_is_refused(why: str, let_in: Mapping[str, bool]) -> list[Violation]:
    """Fault 14: a certificate that has ended or was revoked opens nothing; `let_in` says which listeners it did."""
    opened = sorted(name for name, is_in in let_in.items() if is_in)
    return [Violation(CERTIFICATES, f"a certificate that is {why} is let in by {_some(opened)}")] if opened else []


def nothing_is_stored(collected: Iterable[str], hub: HubSeen) -> list[Violation]:
    """Fault 14: of the messages that a node collected while it was refused, none has come to the hub."""
    stored = sorted(set(collected) & hub.sources)
    return [Violation(CERTIFICATES, f"stored of a node that is refused: {_some(stored)}")] if stored else []


def one_serves(on_duty: Sequence[str]) -> list[Violation]:
    """Fault 18: whatever came and whenever it died, a node that had a bundle on duty has one; by their versions."""
    return [] if len(on_duty) == 1 else [Violation(BUNDLES, f"bundles on duty: {_some(list(on_duty)) or 'none'}")]


def newest_serves(on_duty: Sequence[str], newest: str) -> list[Violation]:
    """Fault 18, when everything was judged: the newest good one is on duty."""
    wrong = [version for version in on_duty if version != newest]
    return [Violation(BUNDLES, f"on duty is {_some(wrong)}, the newest good one is {newest}")] if wrong else []


def only_good_ones_served(served: Iterable[str], good: Iterable[str]) -> list[Violation]:
    """Fault 18: none but good ones was ever on duty."""
    bad = sorted(set(served) - set(good))
    return [Violation(BUNDLES, f"bundles were on duty that must be refused: {_some(bad)}")] if bad else []


def bad_ones_are_refused(expected: Set[tuple[str, str]], told: Set[tuple[str, str]]) -> list[Violation]:
    """Fault 18, when everything was judged: the hub knows each bad one as refused for its reason, and no good one.

    Args:
        expected: what the node's trail must say of each bad one: object and reason.
        told: what it says at the hub.
    """
    untold, wrong = sorted(expected - told), sorted(told - expected)
    found = [f"refused without a word at the hub, or taken: {_some(list(map(' '.join, untold)))}"] if untold else []
    found += [f"refused, and not for that: {_some(list(map(' '.join, wrong)))}"] if wrong else []
    return [Violation(BUNDLES, each) for each in found]


def alarms_are_quick(hub: HubSeen, calm_ns: tuple[int, int]) -> list[Violation]:
    """I6, second half: no alarm that arose in a time of calm (wall clock) took over 1 s to the hub."""
    found = []
    for key, times in hub.times.items():
        late = [seq for seq, each in times.items() if _arose_in(each, calm_ns) and _lag_s(each) > ALARM_LIMIT_S]
        if late and kind_of(key) in ALARM_KINDS:
            found.append(_violation("I6", key, f"alarms late in calm: {_some(late)}"))
    return found


def is_bounded(sizes: Iterable[Size], peaks: Iterable[tuple[int, int]], depth: tuple[float, int]) -> list[Violation]:
    """I7: disk and memory within their limits, records under way within the window, the queue as long as it is said.

    Args:
        sizes: of disks and processes.
        peaks: (records under way, window) as they grew.
        depth: waiting records as the edge reports them, and as they are counted in its files at that moment.
    """
    found = [f"{each.name}: {each.used:.0f} of {each.limit:.0f}" for each in sizes if each.used > each.limit]
    found += [f"{flying} records under way in a window of {window}" for flying, window in peaks if flying > window]
    reported, counted = depth
    if reported != counted:
        found.append(f"{reported:.0f} records reported as waiting, {counted} counted")
    return [Violation("I7", each) for each in found]


def lag_is_short(hub: HubSeen, calm_ns: tuple[int, int]) -> list[Violation]:
    """I8: what was measured in a time of calm after the trouble was at the hub within 2 s, 99 of 100."""
    lags_s = sorted(
        _lag_s(each)
        for key, times in hub.times.items()
        if kind_of(key) == "numeric"
        for each in times.values()
        if _arose_in(each, calm_ns)
    )
    if not lags_s:
        return [Violation("I8", "nothing that was measured in calm is at the hub")]
    p99_s = lags_s[int(len(lags_s) * 0.99)]
    return [Violation("I8", f"lag p99 {p99_s:.2f} s of {len(lags_s)} records in calm")] if p99_s > LAG_LIMIT_S else []


def times_are_true(ledger: Ledger, hub: HubSeen) -> list[Violation]:
    """I9: what the hub derives lies within error bound + 50 ms of when it was sent; no interval of a boot is negative.

    Records that were stamped before the edge knew its offset claim nothing.
    """
    found = []
    for key, times in hub.times.items():
        wrong = [seq for seq, each in times.items() if not _is_near(each, ledger)]
        if wrong:
            found.append(_violation("I9", key, f"time is not when it was sent: {_some(wrong)}"))
        back = _backwards(times)
        if back:
            found.append(_violation("I9", key, f"negative interval inside a boot: {_some(back)}"))
    return found


def claims_time(each: Stamped, ledger: Ledger) -> bool:
    """Whether the truth of a record's time can be looked at: its message is known, and its offset was."""
    return each.source in ledger.promises and each.offset_error_ms != OFFSET_UNKNOWN_MS


def _is_near(each: Stamped, ledger: Ledger) -> bool:
    if not claims_time(each, ledger):
        return True
    promise = ledger.promises[each.source]
    derived_ns = each.wall_ns + each.offset_ms * 1_000_000
    slack_ns = each.offset_error_ms * 1_000_000 + TIME_SLACK_NS
    return promise.first_sent_ns - slack_ns <= derived_ns <= promise.acknowledged_ns + slack_ns


def _backwards(times: Mapping[int, Stamped]) -> list[int]:
    ordered: Sequence[tuple[int, Stamped]] = sorted(times.items())
    return [
        seq
        for (_, earlier), (seq, later) in pairwise(ordered)
        if later.boot == earlier.boot and later.mono_ns < earlier.mono_ns
    ]


def _arose_in(each: Stamped, span_ns: tuple[int, int]) -> bool:
    return span_ns[0] <= each.wall_ns <= span_ns[1]


def _lag_s(each: Stamped) -> float:
    return (each.received_ns - each.wall_ns) / 1e9


def _violation(invariant: str, key: StreamKey, what: str) -> Violation:
    return Violation(invariant, f"{key[0]} epoch {key[1][:4]}: {what}")


def _some(items: list[int] | list[str]) -> str:
    """Return the first few of many, and how many there are."""
    shown = ", ".join(str(item) for item in items[:SHOWN])
    return shown if len(items) <= SHOWN else f"{shown} ... ({len(items)})"

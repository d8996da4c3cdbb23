"""Following an audit trail from its first entry to its last: what was done to it, and where (pure)."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from telemed.audit import Head, Link, begin, digest


class Finding(StrEnum):
    """What is wrong with a trail; stable codes."""

    MISSING = "audit-missing"
    EXTRA = "audit-extra"
    ALTERED = "audit-altered"
    UNLINKED = "audit-unlinked"
    CUT = "audit-cut"
    REWRITTEN = "audit-rewritten"
    HEAD_FORGED = "audit-head-forged"
    OTHER_TRAIL = "audit-other-trail"
    STATE = "audit-state"


TEXTS: dict[Finding, tuple[str, str]] = {
    Finding.MISSING: ("第 {n} 条不见了", "entry {n} is missing"),
    Finding.EXTRA: ("第 {n} 条出现在不该在的位置", "entry {n} stands where it does not belong"),
    Finding.ALTERED: ("第 {n} 条的内容被改过", "entry {n} was changed"),
    Finding.UNLINKED: ("第 {n} 条与前一条不相连", "entry {n} is not linked to the one before"),
    Finding.CUT: (
        "第 {n} 条起被截掉：签名头证明它存在过",
        "cut off from entry {n} on: a signed head shows it was there",
    ),
    Finding.REWRITTEN: (
        "第 {n} 条起被整段重写：与签名头不符",
        "rewritten from entry {n} on: it is not what a signed head says",
    ),
    Finding.HEAD_FORGED: (
        "第 {n} 条处的签名头不是本钥匙所签",
        "the head at entry {n} is not signed by this trail's key",
    ),
    Finding.OTHER_TRAIL: (
        "锚点（第 {n} 条）属于另一条审计链：本链被整条换掉，或锚点不是本系统的",
        "an anchor (entry {n}) is of another trail: this one was replaced as a whole, or the anchor is not of it",
    ),
    Finding.STATE: (
        "末尾登记与最后一条不符（第 {n} 条）",
        "what is noted as the last entry is not the last entry ({n})",
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong with a trail."""

    finding: Finding
    n: int
    """The first entry that is not as it was written, as far as can be told."""

    def words(self) -> tuple[str, str]:
        """Return it in Chinese and English."""
        zh, en = TEXTS[self.finding]
        return zh.format(n=self.n), en.format(n=self.n)


class Walk:
    """Follows a trail entry by entry; the caller brings the links in ascending order and asks `end` at last."""

    def __init__(self, trail: str, heads: Iterable[Head] = (), keys: Collection[str] = ()) -> None:
        """Stand before the first entry.

        Args:
            trail: its name.
            heads: signed heads and anchors that it must agree with, in any order.
            keys: whose signatures count; empty = those of whoever signed, if they are genuine.
        """
        self.trail = trail
        self.n = 0
        self.hash = begin(trail)
        self.sealed_n = 0
        """The last entry up to which a genuine head agrees."""
        self._heads: dict[int, list[Head]] = {}
        self._fault: Fault | None = None
        for head in sorted(heads, key=lambda one: one.n if type(one.n) is int else 0):
            self._expect(head, keys)

    def resume(self, n: int, hash_: str) -> None:
        """Go on after an entry up to which the trail was followed before."""
        self.n, self.hash, self.sealed_n = n, hash_, n

    def take(self, link: Link) -> Fault | None:
        """Judge the next link; after a fault there is nothing more to say."""
        if link.n != self.n + 1:
            return Fault(Finding.MISSING, self.n + 1) if link.n > self.n else Fault(Finding.EXTRA, link.n)
        if not _is_sound(self.trail, link, self.hash):
            unlinked = link.prev_hash != self.hash and _is_sound(self.trail, link, link.prev_hash)
            return Fault(Finding.UNLINKED if unlinked else Finding.ALTERED, link.n)
        self.n, self.hash = link.n, link.hash
        heads = self._heads.pop(link.n, [])
        if any(head.hash != self.hash for head in heads):
            return Fault(Finding.REWRITTEN, self.sealed_n + 1)
        if heads:
            self.sealed_n = link.n
        return None

    def end(self) -> Fault | None:
        """Return what is wrong at the end: heads of entries that are not there, and heads that are forged."""
        if self._heads:
            return Fault(Finding.CUT, self.n + 1)
        return self._fault

    def _expect(self, head: Head, keys: Collection[str]) -> None:
        if head.trail != self.trail:
            self._fault = self._fault or Fault(Finding.OTHER_TRAIL, head.n)
        elif not head.is_genuine or (keys and head.key not in keys):
            self._fault = self._fault or Fault(Finding.HEAD_FORGED, head.n)
        elif head.n > 0:
            self._heads.setdefault(head.n, []).append(head)


def first_fault(walk: Walk, links: Iterable[Link]) -> Fault | None:
    """Follow a whole trail; return the first thing that is wrong with it, None where it is as it was written."""
    for link in links:
        fault = walk.take(link)
        if fault is not None:
            return fault
    return walk.end()


def _is_sound(trail: str, link: Link, prev_hash: str) -> bool:
    """Whether a link is what its hash says, and comes after this one; whatever a table may hold in its place."""
    if type(link.n) is not int or type(link.entry.at_ns) is not int or link.prev_hash != prev_hash:
        return False
    try:
        return digest(trail, link.n, link.entry, prev_hash) == link.hash
    except ValueError:
        return False

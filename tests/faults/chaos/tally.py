"""What was counted over all runs, and the report of it (pure but for `load` and `save`)."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.chaos.schedule import OPEN
from tests.faults.chaos.seen import Violation
from tests.faults.chaos.steps import AT_RANDOM, STEPS

COUNTED = ("crashes", "faults", "checks", "totals")
SHOWN = 4
"""Violations of one episode that are told of; what one bug does to a hundred streams is one line more."""


@dataclass(slots=True)
class Counts:
    """What happened in an episode or in all of them: name -> how often."""

    crashes: Counter[str] = field(default_factory=Counter)
    """By step or actor."""
    faults: Counter[str] = field(default_factory=Counter)
    """By number and name of reliability 2.10."""
    checks: Counter[str] = field(default_factory=Counter)
    """By invariant."""
    totals: Counter[str] = field(default_factory=Counter)
    """Messages promised, records at the hub, episodes, seconds."""
    longest_s: dict[str, float] = field(default_factory=dict)
    """What took how long at most."""

    def add(self, other: "Counts") -> None:
        """Add what was counted elsewhere."""
        for name in COUNTED:
            getattr(self, name).update(getattr(other, name))
        for name, seconds in other.longest_s.items():
            self.took(name, seconds)

    def took(self, name: str, seconds: float) -> None:
        """Note how long something took, if it was never longer."""
        self.longest_s[name] = max(seconds, self.longest_s.get(name, 0.0))

    @property
    def crash_count(self) -> int:
        """All crashes."""
        return sum(self.crashes.values())


@dataclass(slots=True)
class Tally:
    """The counts of all runs, and every violation there ever was."""

    counts: Counts = field(default_factory=Counts)
    runs: list[dict[str, Any]] = field(default_factory=list)
    violations: list[dict[str, Any]] = field(default_factory=list)

    def take(self, counts: Counts, found: list[Violation], about: Mapping[str, Any]) -> None:
        """Take an episode: its counts if all held, else only what did not, with what replays it."""
        if not found:
            self.counts.add(counts)
            return
        shown = [{"invariant": each.invariant, "what": each.what} for each in found[:SHOWN]]
        more = len(found) - SHOWN
        if more > 0:
            shown.append({"invariant": "and more", "what": f"{more} other violations of the same episode"})
        # What the episode began from is kept once.
        rest = {name: value for name, value in about.items() if name != "began_from"}
        self.violations.extend({**(rest if number else about), **each} for number, each in enumerate(shown))


def name_of(crashes: Mapping[str, int]) -> str:
    """Return the name of a tally: with a seed it decides what an episode draws."""
    text = json.dumps({name: count for name, count in crashes.items() if count}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class TallyUnknown(Exception):
    """No violation of the report began from a tally of that name."""


def named(tally: Tally, name: str) -> dict[str, int]:
    """Return the crashes that an episode began from which is to be run again; raises TallyUnknown."""
    for crashes in (tally.counts.crashes, *(each.get("began_from", {}) for each in tally.violations)):
        if name_of(crashes) == name:
            return dict(crashes)
    raise TallyUnknown(f"no episode in this report that violated anything began from a tally {name}")


def load(path: Path) -> Tally:
    """Return what earlier runs have counted; an empty tally where there is no file."""
    if not path.exists():
        return Tally()
    said = json.loads(path.read_text())
    counts = Counts(**{name: Counter(said[name]) for name in COUNTED}, longest_s=said["longest_s"])
    return Tally(counts, said["runs"], said["violations"])


def save(tally: Tally, path: Path) -> None:
    """Write the figures, and the table beside them."""
    counts = tally.counts
    figures: dict[str, Any] = {name: dict(sorted(getattr(counts, name).items())) for name in COUNTED}
    figures |= {"longest_s": counts.longest_s, "runs": tally.runs, "violations": tally.violations}
    whole = {"crash_count": counts.crash_count} | figures
    # Replaced in one step: a run may be ended at any moment.
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    fresh.replace(path)
    path.with_suffix(".md").write_text(page(tally))


def page(tally: Tally) -> str:
    """Return the report as Markdown."""
    counts = tally.counts
    totals = counts.totals
    broken = f"{len(tally.violations)} violations" if tally.violations else "no invariant was violated"
    return f"""# Crashes and other faults

`make chaos MINUTES=n [SEED=n]` adds to this page.  Real processes of edge, hub, broker and monitors; every byte between
them crosses a relay.  An episode counts when all invariants held; one that violates any is listed at the end instead.

**{counts.crash_count} crashes, {broken}** in {totals["episodes"]} episodes, {totals["seconds"] / 60:.0f} minutes;
{totals["messages"]} messages were acknowledged to their monitors, {totals["records"]} records and {totals["files"]}
files lie at the hub.

| Invariant (reliability 2.9) | Times checked |
|---|---|
{_rows(counts.checks)}

## Crashes by step

| Clause | Step | Crashes |
|---|---|---|
{_step_rows(counts.crashes)}

## Faults

| Fault (reliability 2.10) | Times |
|---|---|
{_rows(counts.faults)}

| Not in the plain run | Why |
|---|---|
{_rows(OPEN)}

| At most | |
|---|---|
{_rows({name: f"{seconds:.2f}" for name, seconds in counts.longest_s.items()})}

## Runs

| Date | Commit | Command | Minutes | Crashes | Crashes a minute | Violations |
|---|---|---|---|---|---|---|
{_run_rows(tally.runs)}

## Violations

{_violation_rows(tally.violations)}
"""


def _rows(counts: Mapping[str, object]) -> str:
    return "\n".join(f"| {name} | {count} |" for name, count in sorted(counts.items(), key=lambda row: _key(row[0])))


def _key(name: str) -> tuple[int, str]:
    """Sort by the number in front, if there is one."""
    digits = name.lstrip("I").partition(" ")[0]
    return (int(digits) if digits.isdigit() else 99, name)


def _step_rows(crashes: Mapping[str, int]) -> str:
    rows = [(step.clause, step.name) for step in STEPS]
    rows += [("any", name) for name in AT_RANDOM.values()]
    known = {name for _, name in rows}
    rows += [("any", name) for name in sorted(set(crashes) - known)]
    return "\n".join(f"| {clause} | {name} | {crashes.get(name, 0)} |" for clause, name in rows)


def _run_rows(runs: list[dict[str, Any]]) -> str:
    keys = ("date", "commit", "command", "minutes", "crashes", "crashes_a_minute", "violations")
    return "\n".join("| " + " | ".join(str(run[key]) for key in keys) + " |" for run in runs)


def _violation_rows(violations: list[dict[str, Any]]) -> str:
    if not violations:
        return "None."
    return "\n".join(
        f"- {each['invariant']}: {each['what']} (seed {each['seed']}, episode {each['episode']}, {each['date']}, "
        f"{each['commit']}; replay: `{each['replay']}`)"
        for each in violations
    )

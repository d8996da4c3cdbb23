"""What a guided run of a target came to: read from what libFuzzer says, kept in bench/fuzz.{json,md}."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_STATUS = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/\S+", re.M)
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_DONE = re.compile(r"Done \d+ runs in (\d+) second")
_PEAK = re.compile(r"stat::peak_rss_mb:\s+(\d+)")
HEAD = """# Coverage-guided fuzzing

Each reader of foreign bytes under atheris (libFuzzer), one after the other on one core; made by `make fuzz`. Edges are
those of our own packages, counted by the instrumentation. A finding is an input that broke the promise of its target:
an error that is not one of those named, or too much time or memory. Findings that were mended stand in
`tests/fuzz/captures` and are run by the tests.

| target | seconds | inputs run | edges | features | corpus | peak MiB | finding | when | commit |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One guided run of one target."""

    target: str
    seconds: int
    executions: int
    edges: int
    features: int
    corpus: int
    peak_mib: int
    finding: str
    """What was raised first; empty if the time went by without."""
    at: str
    commit: str
    command: str

    @property
    def is_finding(self) -> bool:
        """Whether the run ended with a finding."""
        return bool(self.finding)

    def line(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.target} | {self.seconds} | {self.executions:,} | {self.edges:,} | {self.features:,} |"
            f" {self.corpus:,} | {self.peak_mib} | {self.finding or 'none'} | {self.at} | {self.commit} |"
        )


def outcome_of(target: str, log: str, findings: Path) -> Outcome:
    """Return what the log of a run says; a run that ended otherwise than in time counts as a finding."""
    statuses = _STATUS.findall(log)
    last = statuses[-1] if statuses else ("0", "0", "0", "0")
    done, executions, peak = _DONE.search(log), _EXECUTIONS.search(log), _PEAK.search(log)
    return Outcome(
        target=target,
        seconds=int(done[1]) if done else 0,
        executions=int(executions[1] if executions else last[0]),
        edges=int(last[1]),
        features=int(last[2]),
        corpus=int(last[3]),
        peak_mib=int(peak[1]) if peak else 0,
        finding="" if done else _what_was_raised(log, findings),
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        commit=_commit(),
        command=shlex.join(["python", "-m", "tests.fuzz", *sys.argv[1:]]),
    )


def add(root: Path, outcome: Outcome) -> None:
    """Put an outcome into the report, in the place of the one that its target had."""
    path = root / "bench" / "fuzz.json"
    known = {one["target"]: one for one in json.loads(path.read_text())} if path.is_file() else {}
    known[outcome.target] = asdict(outcome)
    rows = [Outcome(**one) for one in sorted(known.values(), key=lambda one: str(one["target"]))]
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    path.with_suffix(".md").write_text(HEAD + "".join(row.line() + "\n" for row in rows), encoding="utf-8")


def _what_was_raised(log: str, findings: Path) -> str:
    _before, _mark, trace = log.rpartition("Traceback (most recent call last)")
    raised = re.findall(r"^(\w[\w.]*): ?(.{0,80})", trace, re.M)
    newest = max(findings.glob("*"), key=lambda path: path.stat().st_mtime, default=None)
    what = ": ".join(raised[0]) if raised else "ended early"
    return f"{what} ({newest.name[:20] if newest else 'no input kept'})".replace("|", "/")


def _commit() -> str:
    """Name the commit; "-dirty" behind it where the tree had changes that are in none."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"

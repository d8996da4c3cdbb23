"""Coverage-guided fuzzing of all targets: `python -m tests.fuzz [--seconds 600] [--only NAME ...]` (`make fuzz`).

The corpus grows under var/fuzz; findings lie beside it, and the report in bench/fuzz.{json,md}.
"""

import argparse
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import report
from tests.fuzz.listing import TARGETS
from tests.fuzz.target import Target

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 300
"""A busy machine takes its time to import everything under instrumentation, and to read a large corpus."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the corpus of a target and its findings are kept."""

    corpus: Path
    findings: Path

    @classmethod
    def of(cls, target: Target) -> "Place":
        """Make the folders, and put seeds and captures into the corpus."""
        place = cls(ROOT / "var/fuzz" / target.name / "corpus", ROOT / "var/fuzz" / target.name / "findings")
        for folder in (place.corpus, place.findings):
            folder.mkdir(parents=True, exist_ok=True)
        for data in (*target.warm_up(), *(path.read_bytes() for path in target.captures())):
            (place.corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        return place


def fuzz(target: Target, seconds: int) -> report.Outcome:
    """Fuzz one target in a process of its own."""
    place = Place.of(target)
    options = [
        str(place.corpus),
        f"-max_total_time={seconds}",
        f"-max_len={target.longest_bytes}",
        "-timeout=30",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={place.findings}/",
    ]
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, *options]
    log = place.corpus.parent / "log"
    with log.open("wb") as sink:
        subprocess.run(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=sink, check=False, timeout=seconds + START_LIMIT_S
        )
    return report.outcome_of(target.name, log.read_text(encoding="utf-8", errors="replace"), place.findings)


def main() -> None:
    """Fuzz one target after the other, and write what came of it after each."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--only", nargs="*", default=list(TARGETS), choices=list(TARGETS), help="these targets alone")
    chosen = parser.parse_args()
    found = 0
    for name in chosen.only:
        outcome = fuzz(TARGETS[name], chosen.seconds)
        report.add(ROOT, outcome)
        print(outcome.line(), flush=True)
        found += outcome.is_finding
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

"""`python -m tests.faults.transfers`: studies by C-STORE while everything on their way is killed; a report."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.__main__ import HERE, circumstances
from tests.faults.transfers.run import SLICES, Asked, Outcome, run


def main() -> int:
    """Run it and write bench/transfers.json and .md; 0 where every promised object is at the hub once, bit for bit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--heads", type=int, default=8, help="how many of them a model reads")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="write no files")
    chosen = parser.parse_args()
    asked = Asked(chosen.studies, chosen.heads, chosen.seed)
    with tempfile.TemporaryDirectory(prefix="transfers-") as folder:
        outcome = run(asked, Path(folder))
    text = _table(asked, outcome)
    print(text)
    if not chosen.dry:
        facts = {**circumstances(), "command": " ".join(("python -m tests.faults.transfers", *sys.argv[1:]))}
        (HERE / "transfers.json").write_text(json.dumps({**facts, **_figures(asked, outcome)}, indent=1) + "\n")
        heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
        (HERE / "transfers.md").write_text(f"# Studies through kills\n\n{heading}\n\n{text}")
    return int(outcome.faults.count > 0)


def _figures(asked: Asked, outcome: Outcome) -> dict[str, object]:
    return {
        "studies": asked.studies,
        "heads": asked.heads,
        "seed": asked.seed,
        "promised": outcome.promised,
        "killed": dict(outcome.killed),
        "broken_associations": outcome.broken,
        "missing": outcome.faults.missing,
        "doubled": outcome.faults.doubled,
        "altered": outcome.faults.altered,
        "sent_s": round(outcome.sent_s, 1),
        "all_there_s": round(outcome.all_there_s, 1),
    }


def _table(asked: Asked, outcome: Outcome) -> str:
    faults = outcome.faults
    killed = "\n".join(f"| {who} | {times} |" for who, times in sorted(outcome.killed.items()))
    return f"""{asked.studies} studies by C-STORE, {asked.heads} of them heads that a model reads, {SLICES} slices in
each of the others. Four modalities at once, each of which sends again what it was not promised; all are processes, and
who dies is started again.

| killed with SIGKILL | times |
| --- | --- |
{killed}

{outcome.promised} objects were promised in {outcome.sent_s:.0f} s, over {outcome.broken} associations that broke.
After the last kill all were at the hub within {outcome.all_there_s:.0f} s.

| at the hub | objects |
| --- | --- |
| missing | {len(faults.missing)} |
| more than once | {len(faults.doubled)} |
| with another data set | {len(faults.altered)} |
"""


if __name__ == "__main__":
    sys.exit(main())

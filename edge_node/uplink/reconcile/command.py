"""`edge-node reconcile`: asks the running node to compare everything with the hub now, and shows the last report."""

import argparse
import time

from edge_node.config import EdgeConfig
from edge_node.errors import FileUnusable
from edge_node.uplink.reconcile.diary import Diary, Entry

NAME = "reconcile"
LOOK_EVERY_S = 0.2


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the parser its arguments."""
    command.add_argument("--last", action="store_true", help="show the last report, ask for nothing")
    command.add_argument("--wait", type=float, default=900, metavar="SECONDS", help="how long to wait for the report")


def run(config: EdgeConfig, asked: argparse.Namespace) -> list[str]:
    """Do the command; return what to print.

    Raises:
        FileUnusable: there is no report, or none within the time.
    """
    diary = Diary(config.buffer.folder)
    entry = diary.last() if asked.last else _wait(diary, asked.wait)
    if entry is None:
        raise FileUnusable("no report; is the node running?")
    return [line(entry)]


def line(entry: Entry) -> str:
    """Return a report in one line."""
    if not entry.began_ns:
        return "reconcile: nothing was compared yet"
    if entry.code:
        return f"reconcile: broke off ({entry.code}); tried again by itself"
    counts = entry.counts
    text = f"reconcile: {counts['compared']} records in {counts['streams']} streams compared"
    bad = [f"{name} {counts[name]}" for name in ("healed", "open", "lost", "conflicts", "damaged") if counts[name]]
    return f"{text}; {', '.join(bad) or 'nothing to heal'}"


def _wait(diary: Diary, limit_s: float) -> Entry | None:
    """Ask, and wait for a comparison that began after it."""
    asked_ns = time.time_ns()
    diary.ask()
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        entry = diary.last()
        if entry is not None and entry.began_ns >= asked_ns:
            return entry
        time.sleep(LOOK_EVERY_S)
    return None

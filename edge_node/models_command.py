"""`edge-node models`: the bundles at this node, how each stands and why; reads only, also beside a running node."""

from collections.abc import Iterator
from datetime import UTC, datetime

from telemed.bundle import REFUSALS

from edge_node import arrangement
from edge_node.config import EdgeConfig
from edge_node.inference import shelf
from edge_node.inference.rollout import ON_DUTY, Row

NAME = "models"
NS = 10**9


def run(config: EdgeConfig) -> list[str]:
    """Return the lines to print.

    Raises:
        ConfigRefused: the root of trust cannot be used.
    """
    if not arrangement.models_root(config):
        return ["no model is run: there is no root of trust ([inference] root_file, or one that came at the enrolment)"]
    rows = sorted(shelf.rows_in(arrangement.models_folder(config)), key=lambda row: row.changed_ns, reverse=True)
    return [line for row in rows for line in _lines(row)] or ["no bundle was ever released to this node"]


def _lines(row: Row) -> Iterator[str]:
    since = datetime.fromtimestamp(row.changed_ns / NS, UTC).isoformat(timespec="seconds")
    engine = f"  {row.choice}" if row.stage in ON_DUTY else ""
    name = f"{row.task} {row.version}".strip() or "(not believed)"
    yield f"{row.stage:12} {name:24} {row.bundle_id[:12]}  {since}{engine}"
    if row.reason:
        zh, en = REFUSALS.get(row.reason, (row.reason, row.reason))
        yield f"{'':12} {zh} / {en}: {row.reason} {row.detail}".rstrip()

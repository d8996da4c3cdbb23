"""Bugs that are put into a child on purpose: each invariant must be seen to fail once before it is trusted.

They replace functions of the product in that child alone, in the way that a wrong change of the product would.
"""

import time
from collections.abc import Callable
from typing import Any

COMMIT_EVERY_S = 0.3
ROWS_LATER_S = 0.05


def put_in(name: str) -> None:
    """Put a bug in; raises KeyError for one that is not known."""
    PLANTS[name]()


def answer_before_commit() -> None:
    """Edge: tell the source that it is stored, and commit now and then (I5)."""
    from edge_node.buffer import file  # noqa: PLC0415 - the hub's child has no edge

    committed_s = 0.0

    def commit(self: Any, jobs: list[Any]) -> None:
        nonlocal committed_s
        taken: dict[str, int] = {}
        if not self._writer.in_transaction:
            self._writer.execute("BEGIN IMMEDIATE")
        for job in jobs:
            self._attempt(job, taken, is_alone=False)
        self._numbers.given.update(taken)
        if time.monotonic() - committed_s > COMMIT_EVERY_S:
            self._writer.execute("COMMIT")
            committed_s = time.monotonic()

    file.LogFile._commit = commit  # type: ignore[method-assign]


def number_used_again() -> None:
    """Edge: begin a life with numbers that an earlier life has given out (I2)."""
    from edge_node.buffer import outbox, schema  # noqa: PLC0415

    right = outbox.numbers_of

    def numbers_of(epoch: int, states: Any) -> outbox.Numbers:
        numbers = right(epoch, states)
        numbers.given.update({stream: max(1, seq - 3) for stream, seq in numbers.given.items()})
        return numbers

    outbox.numbers_of = numbers_of
    # A life numbers under an epoch of its own: only one that takes its predecessor's can repeat its numbers.
    schema.begin_epoch = schema.epoch_of
    outbox.INSERT_RECORD = outbox.INSERT_RECORD.replace("INSERT INTO", "INSERT OR REPLACE INTO")
    outbox.INSERT_KEYED = outbox.INSERT_KEYED.replace("INSERT INTO", "INSERT OR REPLACE INTO")


def watermark_before_rows() -> None:
    """Hub: commit the watermark first and its rows in a transaction of their own (I3, I1)."""
    from cloud_hub.store.engine import Database  # noqa: PLC0415 - the edge's child has no hub

    right: Any = Database._commit

    def commit(self: Any, work: Callable[..., Any], kept: Callable[[], None] | None) -> Any:
        if self.name != "samples":
            return right(self, work, kept)
        rows: list[Any] = []

        def first(connection: Any) -> Any:
            before = connection.exec_driver_sql("SELECT coalesce(max(rowid), 0) FROM record").scalar_one()
            result = work(connection)
            rows.extend(connection.exec_driver_sql("SELECT * FROM record WHERE rowid > ?", (before,)).fetchall())
            connection.exec_driver_sql("DELETE FROM record WHERE rowid > ?", (before,))
            return result

        def second(connection: Any) -> None:
            for row in rows:
                marks = ", ".join("?" for _ in row)
                connection.exec_driver_sql(f"INSERT INTO record VALUES ({marks})", tuple(row))

        result = right(self, first, kept)
        time.sleep(ROWS_LATER_S)
        right(self, second, None)
        return result

    Database._commit = commit  # type: ignore[method-assign]


def full_disk_answered() -> None:
    """Edge: tell the source that it is stored where there was no room for it (I5)."""
    from edge_node.buffer.store import Buffer  # noqa: PLC0415
    from edge_node.errors import BufferFull  # noqa: PLC0415
    from edge_node.samples.measurement import Stored  # noqa: PLC0415

    right = Buffer.store_intake

    async def store_intake(self: Any, brought: Any) -> Any:
        try:
            return await right(self, brought)
        except BufferFull:
            return Stored.NEW

    Buffer.store_intake = store_intake  # type: ignore[method-assign]


def own_clock_believed() -> None:
    """Edge: take the machine's clock for right, whatever the hub's shows (I9)."""
    from edge_node.buffer.clock import NodeClock  # noqa: PLC0415

    NodeClock._judged = lambda self, read: read.wall_ns  # type: ignore[method-assign]
    NodeClock._offset = lambda *_: (0, 5)  # type: ignore[method-assign]


def salvage_silent() -> None:
    """Edge: save what is sound of a damaged file, and tell nobody what is not (I1)."""
    from edge_node.buffer import salvage  # noqa: PLC0415

    salvage._declare_missing = lambda *_: None


def log_believed() -> None:
    """Edge: leave it to SQLite whether a write-ahead log is whole (I2)."""
    from edge_node.buffer import opening  # noqa: PLC0415

    opening._log_is_broken = lambda path: False


def unreadable_dropped() -> None:
    """Hub: count what cannot be read without keeping it (I3, I1)."""
    from cloud_hub.store import dead_letters  # noqa: PLC0415

    dead_letters.bury = lambda *_: []


def second_machine_taken() -> None:
    """Hub: let every machine speak that knows a node's secret (I2)."""
    from cloud_hub.ingest.clones import CloneWatch, RunWatch, Verdict  # noqa: PLC0415

    RunWatch.greeted = RunWatch.heard = lambda *_, **__: Verdict.TAKEN  # type: ignore[method-assign,assignment]
    CloneWatch.is_clone = lambda *_: False  # type: ignore[method-assign]


def never_synced() -> None:
    """Both: leave it to the kernel when what was committed comes to the disk (I1, I3, I5)."""
    import sqlite3  # noqa: PLC0415

    def careless(sql: str) -> str:
        return "PRAGMA synchronous = OFF" if "synchronous" in sql and "PRAGMA" in sql.upper() else sql

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *arguments: Any) -> Any:
            return super().execute(careless(sql), *arguments)

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            return super().execute(careless(sql), *arguments)

        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

    right: Any = sqlite3.connect

    def connect(*arguments: Any, **options: Any) -> Any:
        return right(*arguments, **({"factory": Connection} | options))

    sqlite3.connect = sqlite3.dbapi2.connect = connect


def renewal_drops_unsent() -> None:
    """Edge: begin anew with each certificate, as if it were another node, and delete what waits (I1, I5)."""
    import sqlite3  # noqa: PLC0415
    from contextlib import closing  # noqa: PLC0415

    from edge_node.uplink.certificates import CertificateFolder  # noqa: PLC0415 - the hub's child has no edge

    right: Any = CertificateFolder.take

    def take(self: Any, *given: Any) -> None:
        right(self, *given)
        with closing(sqlite3.connect(self.folder.parent / "vitals.db", timeout=10)) as file, file:
            file.execute("DELETE FROM log")

    CertificateFolder.take = take  # type: ignore[method-assign,assignment]


def revocation_unheard() -> None:
    """Hub: note that a certificate is revoked, and let its node go on (14)."""
    from cloud_hub.access.deny_list import DenyList  # noqa: PLC0415 - the edge's child has no hub

    DenyList.replace = lambda *_: None  # type: ignore[method-assign]


def download_noted_early() -> None:
    """Edge: note a file as here that was not given its place (I1)."""
    from edge_node.uplink.transfer.spool import Spool  # noqa: PLC0415 - the hub's child has no edge

    Spool.name_fetched = lambda *_: None  # type: ignore[method-assign]


def rollback_taken() -> None:
    """Edge: judge each bundle as if nothing had ever been seen, so that an older one is as good as a newer one (18)."""
    import shutil  # noqa: PLC0415

    from edge_node.inference.trust import Trust  # noqa: PLC0415 - the hub's child has no edge

    right: Any = Trust.check

    def check(self: Any, *given: Any) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        right(self, *given)

    Trust.check = check  # type: ignore[method-assign,assignment]


PLANTS: dict[str, Callable[[], None]] = {
    "answer-before-commit": answer_before_commit,
    "number-used-again": number_used_again,
    "watermark-before-rows": watermark_before_rows,
    "full-disk-answered": full_disk_answered,
    "own-clock-believed": own_clock_believed,
    "salvage-silent": salvage_silent,
    "log-believed": log_believed,
    "unreadable-dropped": unreadable_dropped,
    "second-machine-taken": second_machine_taken,
    "never-synced": never_synced,
    "renewal-drops-unsent": renewal_drops_unsent,
    "revocation-unheard": revocation_unheard,
    "download-noted-early": download_noted_early,
    "rollback-taken": rollback_taken,
}

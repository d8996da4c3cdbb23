"""The receiver's end of the pipe to the node's process: asks for a commit and waits for the verdict, in any thread."""

import contextlib
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import BinaryIO

from edge_node.imaging.intake import Arrived, OnDisk
from edge_node.imaging.judged import Verdict
from edge_node.imaging.pipe import Judged, Line, Look, Refused, Stored, pack, unpack

ANSWER_WITHIN_S = 30.0


class Office:
    """What the threads of a receiver share towards the node."""

    def __init__(self, to_node: BinaryIO) -> None:
        self._to_node = to_node
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Verdict]] = {}
        self._number = 0
        self.looks: SimpleQueue[Look] = SimpleQueue()
        """What the node asked to be taken in, for whoever does it."""

    def commit(self, arrived: Arrived, on_disk: OnDisk) -> Verdict:
        """Have the row of a stored file committed, and return what became of it; FAILED where the node is silent."""
        answer: Future[Verdict] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = answer
        stored = (on_disk.sha256, on_disk.size_bytes, arrived.transfer_syntax, arrived.sender, on_disk.content)
        try:
            self.say(Stored(number, *stored))
            return answer.result(ANSWER_WITHIN_S)
        except (TimeoutError, OSError):
            return Verdict.FAILED
        finally:
            with self._lock:
                del self._waiting[number]

    def refused(self, reason: str) -> None:
        """Tell the node that something was refused."""
        with contextlib.suppress(OSError):
            self.say(Refused(reason))

    def say(self, line: Line) -> None:
        """Write one line.

        Raises:
            OSError: the node is gone.
        """
        raw = pack(line)
        with self._lock:
            self._to_node.write(raw)
            self._to_node.flush()

    def listen(self, from_node: Iterable[bytes]) -> None:
        """Hand each verdict and each file to who waits for it, until the node closes the pipe."""
        for raw in from_node:
            with contextlib.suppress(ValueError):
                line = unpack(raw)
                if isinstance(line, Judged):
                    self._judge(line)
                elif isinstance(line, Look):
                    self.looks.put(line)

    def _judge(self, line: Judged) -> None:
        with self._lock:
            answer = self._waiting.get(line.number)
        if answer is not None and not answer.done():
            answer.set_result(Verdict(line.verdict))

"""Has imported an actor's program and forks it when told: `python -m tests.faults.chaos.zygote edge|hub|broker`.

Importing is most of what a start costs.  Each child is an operating-system process of its own that runs the program's
own `main` from its first line on, with its own files, sockets and threads, and that can be killed like any other.

Orders are lines of JSON on standard input, answers lines of JSON on standard output; all children die with it.
"""

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.faults.chaos import child, clock

PR_SET_PDEATHSIG = 1
FAILED = 70
WARM = {
    "edge": (
        "edge_node.__main__",
        "uvicorn.loops.uvloop",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.protocols.websockets.websockets_sansio_impl",
    ),
    "hub": (
        "cloud_hub.__main__",
        "sqlalchemy.dialects.sqlite",
        "alembic.autogenerate",
        "uvicorn.loops.uvloop",
        "uvicorn.lifespan.on",
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.protocols.websockets.websockets_sansio_impl",
    ),
    "broker": ("cloud_hub.broker_process",),
}
"""What each role imports before it forks, its program first; the rest would be imported by each child."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class _Child:
    number: int
    pid: int
    said: int
    """Descriptor of what it prints."""
    told: int
    """Descriptor of its standard input, which stays open as long as it lives."""
    rest: bytes = b""


class Zygote:
    """The loop: takes orders, forks, and tells what children print and how they end."""

    def __init__(self, program: Callable[..., Any]) -> None:
        self._program = program
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._orders = b""
        woken, waker = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._read_orders)
        self._selector.register(woken, selectors.EVENT_READ, lambda: self._reap(woken))

    def run(self) -> None:
        """Serve until the input ends; then no child is left."""
        while True:
            for key, _ in self._selector.select():
                try:
                    key.data()
                except EOFError:
                    self._end()
                    return

    def _read_orders(self) -> None:
        read = os.read(sys.stdin.fileno(), 65536)
        if not read:
            raise EOFError
        *lines, self._orders = (self._orders + read).split(b"\n")
        for line in lines:
            self._fork(json.loads(line))

    def _fork(self, order: dict[str, Any]) -> None:
        input_read, input_write = os.pipe()
        output_read, output_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _become(self._program, order, input_read, output_write)
        os.close(input_read)
        os.close(output_write)
        born = self._children[pid] = _Child(order["number"], pid, output_read, input_write)
        self._selector.register(output_read, selectors.EVENT_READ, lambda: self._read_child(born))
        _say(number=born.number, pid=pid, at_s=time.monotonic())

    def _read_child(self, born: _Child) -> None:
        read = os.read(born.said, 65536)
        if not read:
            self._selector.unregister(born.said)
            os.close(born.said)
            return
        *lines, born.rest = (born.rest + read).split(b"\n")
        for line in lines:
            _say(number=born.number, line=line.decode(errors="replace"), at_s=time.monotonic())

    def _reap(self, woken: int) -> None:
        while True:
            try:
                os.read(woken, 4096)
            except BlockingIOError:
                break
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            gone = self._children.pop(pid)
            os.close(gone.told)
            _say(number=gone.number, ended=os.waitstatus_to_exitcode(status), at_s=time.monotonic())

    def _end(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _say(**told: object) -> None:
    os.write(sys.stdout.fileno(), json.dumps(told).encode() + b"\n")


def _become(program: Callable[..., Any], order: dict[str, Any], input_read: int, output_write: int) -> NoReturn:
    """Be the actor; never returns."""
    status = FAILED
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for source, target in ((input_read, 0), (output_write, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        os.chdir(order["folder"])
        os.environ.update(order["environment"])
        if order["program"]:
            os.execv(order["program"][0], order["program"])
        sys.argv[1:] = order["arguments"]
        child.prepare(order["wishes"])
        status = program(order["arguments"]) or 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else FAILED
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Import the role's program, say so, and serve."""
    role = sys.argv[1]
    if role == "edge":
        clock.install()
    program, *further = [importlib.import_module(name) for name in WARM[role]]
    child.warm(role)
    gc.collect()
    # What is there now is never looked through for garbage again, so that children share it.
    gc.freeze()
    _say(ready=Path(str(program.__file__)).name, modules=len(further))
    takes_arguments = role != "broker"
    Zygote(program.main if takes_arguments else lambda _arguments: program.main()).run()


if __name__ == "__main__":
    main()

"""Kills a receiver, or the node that started it, at a step named by KILL_AT; imported at the start of each Python.

The product has no part in it: the steps are calls to the system, wrapped from outside.
"""

import functools
import os
import pathlib
import signal
import socket
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

_hits = count()


def _dying(step: str, call: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    name, _, whom = os.environ.get("KILL_AT", "").partition(":")
    at, _, number = name.partition("#")

    @functools.wraps(call)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        told = None if before else call(*arguments, **options)
        if step == at and next(_hits) == int(number or 0):
            os.kill(os.getppid() if whom == "node" else os.getpid(), signal.SIGKILL)
        return call(*arguments, **options) if before else told

    return wrapped


if "edge_node.imaging" in sys.orig_argv:
    os.fdatasync = _dying("file-synced", _dying("file-written", os.fdatasync, before=True), before=False)
    pathlib.Path.hardlink_to = _dying("file-named", pathlib.Path.hardlink_to, before=False)  # type: ignore[method-assign]
    pathlib.Path.replace = _dying("file-replaced", pathlib.Path.replace, before=False)  # type: ignore[method-assign]
    socket.socket.send = _dying("answer", socket.socket.send, before=True)  # type: ignore[method-assign]

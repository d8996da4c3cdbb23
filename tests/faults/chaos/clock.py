"""A wall clock that can be made wrong while a process runs; steady clocks stay right.

Installed in the edge's zygote before it imports the product, because default arguments keep the function that they
were given.
"""

import importlib
import mmap
import struct
import time
from pathlib import Path
from types import ModuleType

DEADLINES = ("grpc._channel", "grpc.aio._utils")
"""Where gRPC makes deadlines for its library."""
OFFSET = struct.Struct("=q")
_right_ns, _right_s = time.time_ns, time.time
_held: list[mmap.mmap] = []


def install() -> None:
    """Put this clock in the place of `time.time_ns` and `time.time`; right until `follow` is called."""
    time.time_ns, time.time = _time_ns, _time_s


def follow(path: Path) -> None:
    """Be wrong from now on by as many nanoseconds as the file says at each moment."""
    with path.open("rb") as file:
        _held[:] = [mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)]
    right = ModuleType("time")
    vars(right).update(vars(time), time=_right_s)
    for name in DEADLINES:
        # gRPC's library reads the machine's own clock: a deadline by this one would be over before the call begins.
        vars(importlib.import_module(name))["time"] = right


def set_wrong_by(path: Path, offset_ns: int) -> None:
    """Say how wrong the clock of those is who follow this file; the file is made where there is none."""
    if not path.exists():
        path.write_bytes(OFFSET.pack(offset_ns))
        return
    with path.open("r+b") as file:
        file.write(OFFSET.pack(offset_ns))


def _offset_ns() -> int:
    return int(OFFSET.unpack_from(_held[0])[0]) if _held else 0


def _time_ns() -> int:
    return _right_ns() + _offset_ns()


def _time_s() -> float:
    return _right_s() + _offset_ns() / 1e9

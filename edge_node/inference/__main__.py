"""`python -m edge_node.inference`: a worker process; started by the node, never by hand.

With `--offers` it says which libraries this machine has, one JSON object a line, and ends.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import BinaryIO

from telemed.logs import log_to_stderr

from edge_node.inference.confinement import confine
from edge_node.inference.pipe import Line, Load, pack, unpack

OFFERS = "--offers"
OFFERS_MEMORY_MIB = 2048
ON_PROCESSOR = "onnxruntime-cpu"
"""The library that needs no card, by its name: its module must not be read before this process is confined."""


def _main() -> None:
    log_to_stderr()
    # Whatever a library prints must not reach the pipe.
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    if OFFERS in sys.argv:
        confine(OFFERS_MEMORY_MIB, has_card=True)
        _offer(pipe)
        return
    first = unpack(sys.stdin.buffer.readline())
    if not isinstance(first, Load):
        raise SystemExit("the first line must say what to load")
    confine(first.memory_mib, has_card=first.library != ON_PROCESSOR)
    # Only now, because reading their own files is the first thing that these libraries do.
    from edge_node.inference import child  # noqa: PLC0415

    child.serve(first, _lines(), lambda line: _say(pipe, line))


def _lines() -> Iterator[Line]:
    for raw in sys.stdin.buffer:
        yield unpack(raw)


def _say(pipe: BinaryIO, line: Line) -> None:
    pipe.write(pack(line))


def _offer(pipe: BinaryIO) -> None:
    from edge_node.inference import libraries  # noqa: PLC0415 - as above

    for offer in libraries.offers():
        pipe.write(json.dumps(asdict(offer)).encode() + b"\n")


if __name__ == "__main__":
    _main()

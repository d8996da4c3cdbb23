"""`python -m edge_node.findings`: a reader of one study, with `--write` a writer of its results; started by the node.

Images come from strangers and decoders are written in C: no network, no other programs, bounded memory and time.
"""

import gc
import os
import resource
import sys
import warnings
from typing import BinaryIO

from telemed.logs import log_to_stderr

from edge_node.findings import documents
from edge_node.findings.pipe import Ask, unpack
from edge_node.findings.writing import WRITE
from edge_node.imaging import pipe as imaging_pipe
from edge_node.inference.confinement import confine

PROCESSOR_S = 600
LARGEST_OBJECT_BYTES = 256 * 1024 * 1024


def _main() -> None:
    log_to_stderr()
    # Whatever a library prints must not reach the pipe.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    first = sys.stdin.buffer.readline()
    if WRITE in sys.argv:
        _write(documents.unpack(first), pipe)
    else:
        _read(unpack(first), pipe)


def _read(ask: object, pipe: BinaryIO) -> None:
    if not isinstance(ask, Ask):
        raise SystemExit("the first line must say what to read")
    _bound(ask.memory_mib, 0, may_link=False)
    # Only now, because reading their own files is the first thing that these libraries do.
    from edge_node.findings import child  # noqa: PLC0415

    child.serve(ask, child.Node(sys.stdin.buffer, pipe))


def _write(write: documents.Write, pipe: BinaryIO) -> None:
    # It lives for a few seconds, in which many small parts are copied and little becomes free.
    gc.disable()
    _bound(write.memory_mib, LARGEST_OBJECT_BYTES, may_link=True)
    from edge_node.findings import writer  # noqa: PLC0415 - as above

    writer.serve(write, lambda stored: _say(pipe, stored))
    # Taking the libraries apart would take as long as loading them did, and somebody waits for the report.
    os._exit(0)


def _say(pipe: BinaryIO, stored: imaging_pipe.Stored) -> None:
    pipe.write(imaging_pipe.pack(stored))
    pipe.flush()


def _bound(memory_mib: int, largest_file_bytes: int, *, may_link: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))
    confine(memory_mib, may_link=may_link)


if __name__ == "__main__":
    _main()

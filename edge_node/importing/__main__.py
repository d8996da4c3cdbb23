"""`python -m edge_node.importing`: makes objects of one file; started by the node alone.

Files come from strangers and readers are written in C: no network, no other programs, bounded memory and time.
"""

import os
import resource
import sys
import warnings

from telemed.logs import log_to_stderr

from edge_node import child
from edge_node.imaging import pipe as imaging_pipe
from edge_node.importing.order import Refused, unpack
from edge_node.importing.reasons import NotImported, Reason
from edge_node.inference.confinement import confine

PROCESSOR_S = 600
LARGEST_FILE_BYTES = 257 * 1024 * 1024


def _main() -> None:
    log_to_stderr()
    # Whatever a library prints must not reach the pipe.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    order = unpack(sys.stdin.buffer.readline())
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_S, PROCESSOR_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
    confine(order.memory_mib, may_link=True)
    # Only now, because reading their own files is the first thing that these libraries do.
    from edge_node.importing import making  # noqa: PLC0415

    def say(stored: imaging_pipe.Stored) -> None:
        pipe.write(imaging_pipe.pack(stored))

    try:
        making.serve(order, say)
    except NotImported as refusal:
        pipe.write(child.pack(Refused(refusal.reason, refusal.detail[:200])))
    except MemoryError:
        pipe.write(child.pack(Refused(Reason.TOO_MANY_VOXELS, "")))
    pipe.flush()


if __name__ == "__main__":
    _main()

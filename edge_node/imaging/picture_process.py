"""`python -m edge_node.imaging.picture_process`: decodes one object from standard input, and ends.

Decoders are written in C and fed by strangers: they run here, within limits, and nowhere else.
"""

import contextlib
import os
import resource
import sys
import warnings

from edge_node.imaging import picture

MIB = 1024 * 1024
MEMORY_BYTES = 2048 * MIB
PROCESSOR_S = 20


def main() -> None:
    """Write the picture to standard output; an exit status that is not 0 means that none can be made."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, PROCESSOR_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError):
            resource.setrlimit(what, (most, most))
    told = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    told.write(picture.key_picture(sys.stdin.buffer.read()))
    told.flush()


if __name__ == "__main__":
    main()

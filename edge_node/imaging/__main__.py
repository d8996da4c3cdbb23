"""`python -m edge_node.imaging FD`: one receiver of images on the listening socket FD; started by the node alone."""

import os
import socket
import sys

from telemed.logs import log_to_stderr

from edge_node.imaging import receiver
from edge_node.imaging.office import Office
from edge_node.imaging.pipe import Configure, unpack


def main() -> None:
    """Receive as the first line of standard input says, until standard input ends."""
    # Whatever a library prints must not reach the pipe.
    to_node = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from_node = sys.stdin.buffer
    settings = unpack(from_node.readline())
    if not isinstance(settings, Configure):
        raise SystemExit("the first line must configure")
    office = Office(to_node)
    listening = socket.socket(fileno=int(sys.argv[1]))
    receiver.run(settings, office, listening, lambda: office.listen(from_node))


if __name__ == "__main__":
    log_to_stderr()
    main()

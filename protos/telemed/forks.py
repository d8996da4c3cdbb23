"""What gRPC must know of processes that we start, before it is loaded."""

import os


def are_for_programs() -> None:
    """Have gRPC do nothing in a child between fork and exec: a child of ours always becomes another program.

    As it comes, it starts threads there, which crash the child when calls are under way (grpc/grpc doc/fork_support.md
    names the setting for whoever only runs programs).  To be called before gRPC is imported.
    """
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

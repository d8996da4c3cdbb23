"""Has gRPC do nothing in a process between fork and exec; imported by programs before anything that loads gRPC.

As it comes, gRPC starts threads in each child, which crash it when calls are under way.  A child of ours always becomes
another program, and for that gRPC has this setting (its doc/fork_support.md), which it reads when it is loaded.
"""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

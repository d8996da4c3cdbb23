"""Named places at which a test can kill the process; inert unless YUANZHEN_FAILPOINT is set at start.

The variable is `<name>:kill` or `<name>:kill:<n>`, the n-th time the place is reached.
"""

import os
import signal
from itertools import count

VARIABLE = "YUANZHEN_FAILPOINT"

_name, _, _rest = os.environ.get(VARIABLE, "").partition(":")
_fatal_hit = int(_rest.partition(":")[2] or 1) if _rest else 0
_hits = count(1)


def reach(name: str) -> None:
    """Kill this process with SIGKILL if the place `name` is armed and this is the hit it is armed for."""
    if name == _name and next(_hits) == _fatal_hit:
        os.kill(os.getpid(), signal.SIGKILL)

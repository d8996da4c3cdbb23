"""Named points at which a test may end the process as a power cut would; inert without the variable.

`YUANZHEN_FAILPOINT=committed:kill:3` ends the process the third time the point "committed" is reached; the node
reads the variable in the same way.
"""

import os
import signal
from itertools import count

VARIABLE = "YUANZHEN_FAILPOINT"

_name, _, _rest = os.environ.get(VARIABLE, "").partition(":")
_fatal_hit = int(_rest.partition(":")[2] or 1) if _rest else 0
_hits = count(1)


def reach(name: str) -> None:
    """Mark that the process is at this point."""
    if name == _name and next(_hits) == _fatal_hit:
        os.kill(os.getpid(), signal.SIGKILL)

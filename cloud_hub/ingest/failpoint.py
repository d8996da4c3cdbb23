"""Named points at which a test may end the process as a power cut would; inert without the variable.

`YZ_FAILPOINT=committed:3` ends the process the third time the point "committed" is reached.
"""

import os
import signal

_NAME, _, _COUNT = os.environ.get("YZ_FAILPOINT", "").partition(":")
_reached = {"": 0}


def reach(name: str) -> None:
    """Mark that the process is at this point."""
    if name != _NAME:
        return
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] >= int(_COUNT or 1):
        os.kill(os.getpid(), signal.SIGKILL)

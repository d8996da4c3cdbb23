"""How a rendered picture is asked for (PS3.18 8.3.5.1): window, viewport, frames.  Pure."""

import math
import re
from dataclasses import dataclass

from cloud_hub.errors import BadRequest, NotFound

MOST_PIXELS = 4096
MOST_FRAMES_AT_ONCE = 500
FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_NUMBER = r"[+-]?\d{1,12}(\.\d{0,6})?"


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is asked for; None: as the file says."""

    window: tuple[float, float, str] | None = None
    viewport: tuple[int, int] | None = None


def window(text: str) -> tuple[float, float, str] | None:
    """Return centre, width and function of `centre,width[,function]`; None where nothing is asked for.

    Raises:
        BadRequest: it is no window.
    """
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    numbers = [float(part) for part in parts[:2] if re.fullmatch(_NUMBER, part)]
    function = FUNCTIONS.get(parts[2].lower() if len(parts) == 3 else "linear")
    if len(numbers) != 2 or len(parts) > 3 or function is None or numbers[1] <= 0 or not math.isfinite(sum(numbers)):
        raise BadRequest("window is centre,width or centre,width,linear|linear-exact|sigmoid", ["window"])
    return numbers[0], numbers[1], function


def viewport(text: str) -> tuple[int, int] | None:
    """Return columns and rows of `columns,rows`; None where nothing is asked for.

    Raises:
        BadRequest: not two numbers from 1 to MOST_PIXELS; parts of a picture are not offered.
    """
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(re.fullmatch(r"[1-9]\d{0,3}", part) and int(part) <= MOST_PIXELS for part in parts):
        raise BadRequest(f"viewport is columns,rows, at most {MOST_PIXELS} each", ["viewport"])
    return int(parts[0]), int(parts[1])


def frames(text: str, count: int) -> list[int]:
    """Return the numbers of a list of frames, from 1.

    Raises:
        BadRequest: no list of numbers, or too long a one.
        NotFound: there is no such frame.
    """
    if not re.fullmatch(r"[1-9]\d{0,6}(,[1-9]\d{0,6})*", text):
        raise BadRequest("frames are numbers from 1, with commas between", ["frames"])
    found = [int(part) for part in text.split(",")]
    if len(found) > MOST_FRAMES_AT_ONCE:
        raise BadRequest(f"at most {MOST_FRAMES_AT_ONCE} frames at once", ["frames"])
    if max(found) > count:
        raise NotFound(f"there are {count} frames")
    return found

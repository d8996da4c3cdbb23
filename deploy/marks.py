"""`python -m deploy.marks`: draws the marks that every picture of a model bears; a node has no font for Chinese.

Run by hand where a mark is reworded; what it writes is committed.  Needs Noto Sans CJK (Debian: fonts-noto-cjk).
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from telemed.bundle import AI_MARK, RESEARCH_MARK

FOLDER = Path(__file__).resolve().parents[1] / "edge_node" / "findings" / "marks"
SHORT_MARK = ("AI 未经核实", "AI, not verified")
TEXTS = {
    "short": " · ".join(SHORT_MARK),
    "ai-zh": AI_MARK[0], "ai-en": AI_MARK[1], "research-zh": RESEARCH_MARK[0], "research-en": RESEARCH_MARK[1],
}  # fmt: skip
SIZE_PX = 18
_EDGE_PX = 2


def drawn(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return a text as white on black, as large as it is."""
    left, top, right, bottom = (round(number) for number in font.getbbox(text))
    image = Image.new("L", (right - left + 2 * _EDGE_PX, bottom - top + 2 * _EDGE_PX))
    ImageDraw.Draw(image).text((_EDGE_PX - left, _EDGE_PX - top), text, fill=255, font=font)
    return image


def main() -> int:
    """Write every mark; return the exit status."""
    found = subprocess.run(
        ["fc-match", "--format=%{file}", "Noto Sans CJK SC:lang=zh-cn"], capture_output=True, text=True, check=True
    ).stdout
    if "CJK" not in found:
        print("no font for Chinese is installed (Debian: fonts-noto-cjk)", file=sys.stderr)
        return 1
    font = ImageFont.truetype(found, SIZE_PX)
    FOLDER.mkdir(exist_ok=True)
    for name, text in TEXTS.items():
        image = drawn(text, font)
        image.save(FOLDER / f"{name}.png", optimize=True)
        print(f"{name}: {image.size}, {int(np.asarray(image).max())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

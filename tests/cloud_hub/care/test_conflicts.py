"""The conflict table: complete, and the same in the documentation."""

import re
from pathlib import Path

from telemed.v1 import event_pb2

from cloud_hub.care.conflicts import RULES, Origin

PAGE = Path(__file__).resolve().parents[3] / "docs" / "two-way-sync.md"


def test_every_kind_of_event_has_its_rule() -> None:
    bodies = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields}

    assert set(RULES) == bodies


def test_the_page_for_people_has_the_same_rows() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    origins = {"edge": Origin.EDGE, "hub": Origin.HUB, "edge or hub": Origin.EITHER}

    assert {name: (origins[who], "" if asked == "nobody" else asked) for name, who, asked in rows} == {
        name: (rule.origin, rule.asked) for name, rule in RULES.items()
    }

"""Which readings are calm: they can begin, worsen or end no alarm, so they may wait a moment to be stored (pure).

Calm is judged carefully: every value is inside all limits and scores as the bed's last one did, which is still fresh.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from telemed.measures import MEASURES
from telemed.news2 import SOURCES, Part, Sign, score

from edge_node.alarms.ruleset import Rule, Ruleset
from edge_node.samples.current import Held
from edge_node.samples.measurement import Assignment, NumericSet, Origin, Quality, Value

FRESH_NS = 60 * 10**9
"""What is older may have left the score meanwhile: the next value may bring its points back."""
_TEXTS_REMEMBERED = 4096
_PART_OF = {measure: part for part, measures in SOURCES.items() for measure in measures}

Mark = tuple[int | str | None, ...]
"""What the rules make of a value inside the limits; values of the same mark are the same to them."""


class Calm:
    """The limits of a ruleset, asked of every message."""

    def __init__(self, rules: Ruleset) -> None:
        """Sort the rules by measure."""
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules.rules:
            for measure in rule.when.metric:
                self._rules.setdefault(measure, []).append(rule)
        self._least_quality = {
            measure: max((rule.when.min_quality or 0.0 for rule in found), default=0.0)
            for measure, found in self._rules.items()
        }
        self._mark = lru_cache(_TEXTS_REMEMBERED)(self._marked)

    def holds(self, sample: NumericSet, held: Mapping[str, Held]) -> bool:
        """Whether a set that just arrived says nothing new about its bed, of which `held` are the newest values."""
        is_plain = sample.origin is Origin.LIVE and sample.assignment is Assignment.BED
        if not is_plain or sample.late or sample.clock_suspect:
            return False
        return all(self._says_the_same(value, held.get(value.measure), sample) for value in sample.values)

    def _says_the_same(self, value: Value, before: Held | None, sample: NumericSet) -> bool:
        if before is None or value.quality is not Quality.VALID or not before.may_count:
            return False
        own_ns = value.measured_at_ns
        is_repeat = own_ns != 0 and before.value.measured_at_ns == own_ns
        if not is_repeat and (own_ns or sample.measured_at_ns) - before.measured_at_ns > FRESH_NS:
            return False
        quality = value.signal_quality
        if quality is not None and quality < self._least_quality.get(value.measure, 0.0):
            return False
        mark = self._mark(value.measure, value.value)
        if mark is None or before.value.value == value.value:
            return mark is not None
        return mark == self._mark(value.measure, before.value.value)

    def _marked(self, measure: str, text: str) -> Mark | None:
        """Return the mark of a value, None where a limit is broken or it is no number."""
        if measure not in MEASURES:
            return ()
        part = _PART_OF.get(measure)
        if part in (Part.ACVPU, Part.OXYGEN):
            return (text,)
        number = _number(text)
        if number is None:
            return None
        for rule in self._rules.get(measure, ()):
            if any(gate.holds(number) for gate, _ in rule.levels()):
                return None
        return () if part is None else _points(part, text)


def _points(part: Part, text: str) -> Mark:
    """Return the points of a value on both scales, on air and on oxygen."""
    found: list[int | None] = []
    for scale, oxygen in ((1, "air"), (2, "air"), (2, "oxygen")):
        inputs = {Part.OXYGEN: Sign(oxygen, 0), part: Sign(text, 0)}
        parts = score(inputs, 1 if scale == 1 else 2).parts
        found.append(next(each.points for each in parts if each.part is part))
    return tuple(found)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None

"""The ruleset file: read, checked, never changed while the node runs (form of clinical appendix A)."""

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from telemed.measures import MEASURES

from edge_node.errors import ConfigRefused
from edge_node.samples.alarm import Priority

DEFAULT = Path(__file__).with_name("rulesets") / "adult-default.toml"
Op = Literal["<", "<=", ">", ">="]
WaitS = Annotated[float, Field(ge=0, le=600)]


def _exact(value: object) -> object:
    """Take a TOML float by its shortest decimal text, so that 38.5 is 38.5 exactly."""
    return str(value) if isinstance(value, float) else value


Number = Annotated[Decimal, BeforeValidator(_exact)]


def _priority(value: object) -> object:
    return Priority[value.upper()] if isinstance(value, str) and value.upper() in Priority.__members__ else value


RulePriority = Annotated[Priority, BeforeValidator(_priority)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(_Part):
    """What people read; {v} is the value, {limit} the limit."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)


class Comparison(_Part):
    """A value against a limit."""

    op: Op
    value: Number

    def holds(self, number: Decimal) -> bool:
        """True where the number stands to the limit as `op` says."""
        if self.op == "<":
            return number < self.value
        if self.op == "<=":
            return number <= self.value
        return number > self.value if self.op == ">" else number >= self.value


class Clear(Comparison):
    """When it is over: back inside this, for this long."""

    for_s: WaitS


class Gate(Comparison):
    """One limit with its delay and its hysteresis."""

    for_s: WaitS
    for_home_s: WaitS | None = None
    clear: Clear

    @model_validator(mode="after")
    def _clear_is_inside(self) -> "Gate":
        if self.op[0] == self.clear.op[0]:
            raise ValueError("clear must look the other way than the limit")
        inside = self.clear.value >= self.value if self.op[0] == "<" else self.clear.value <= self.value
        if not inside:
            raise ValueError("clear must lie inside the limit, else the alarm flutters")
        return self

    def delay_s(self, home: bool) -> float:
        """Seconds that the value must keep breaking the limit."""
        return self.for_home_s if home and self.for_home_s is not None else self.for_s


class When(Gate):
    """The warn limit, and of which measures."""

    metric: tuple[str, ...] = Field(min_length=1)
    min_quality: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _metrics_exist(self) -> "When":
        unknown = [name for name in self.metric if name not in MEASURES]
        if unknown:
            raise ValueError(f"no such measure: {', '.join(unknown)}")
        return self


class Upgrade(_Part):
    """A further limit that raises the priority."""

    when: Gate
    priority: RulePriority


class Rule(_Part):
    """One limit alarm."""

    id: str = Field(min_length=1)
    condition: str = Field(pattern=r"^[a-z0-9_-]+$")
    priority: RulePriority
    latch: bool = False
    latch_when: Comparison | None = None
    zero_counts: bool = False
    """A value of exactly 0 counts although it is outside the plausible range: asystole-like."""
    route: str
    source: str
    message: Message
    when: When
    upgrade: tuple[Upgrade, ...] = ()

    @model_validator(mode="after")
    def _upgrades_are_worse(self) -> "Rule":
        for upgrade in self.upgrade:
            if upgrade.priority <= self.priority:
                raise ValueError("an upgrade must raise the priority")
            if upgrade.when.op[0] != self.when.op[0]:
                raise ValueError("an upgrade must look the same way as its rule")
        return self

    def levels(self) -> tuple[tuple[Gate, Priority], ...]:
        """The limits of this rule with their priorities, mildest first."""
        return ((self.when, self.priority), *((up.when, up.priority) for up in self.upgrade))


class Technical(_Part):
    """An alarm about equipment."""

    condition: str
    priority: RulePriority
    for_s: WaitS
    message: Message


class News2Rule(_Part):
    """When the score alarms."""

    condition: str
    medium: int = Field(ge=1, le=20)
    high: int = Field(ge=1, le=20)
    single_three: bool
    clear_for_s: WaitS
    message: Message
    message_three: Message


class SilenceRule(_Part):
    """When a device that was heard is called silent."""

    condition: str
    times_usual: float = Field(ge=1)
    least_s: float = Field(gt=0)
    medium_after_s: float = Field(gt=0)
    message: Message


class HubSilenceRule(_Part):
    """When the hub is called silent."""

    condition: str
    after_s: float = Field(gt=0)
    message: Message


class Applies(_Part):
    """For whom the rules are."""

    age_min: int = Field(ge=0)


class Ruleset(_Part):
    """A whole file of rules, approved by somebody from a date on."""

    id: str = Field(min_length=1)
    version: str = Field(min_length=1)
    status: Literal["approved"]
    approved_by: tuple[str, ...] = Field(min_length=1)
    effective: date
    source: str
    applies: Applies
    news2: News2Rule
    silence: SilenceRule
    hub_silence: HubSilenceRule
    rules: tuple[Rule, ...] = Field(min_length=1)
    technical: tuple[Technical, ...]

    @model_validator(mode="after")
    def _conditions_are_unique(self) -> "Ruleset":
        names = [rule.condition for rule in self.rules] + [note.condition for note in self.technical]
        names += [self.news2.condition, self.silence.condition, self.hub_silence.condition]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ValueError(f"condition used twice: {', '.join(sorted(doubled))}")
        if "other" not in names:
            raise ValueError("[[technical]] needs the condition other, for what a device says that has no row")
        return self

    def technical_for(self, condition: str) -> Technical:
        """The row of a technical condition; that of "other" where it has none."""
        rows = {row.condition: row for row in self.technical}
        return rows.get(condition, rows["other"])

    def limits_of(self, measure: str) -> tuple[str | None, str | None]:
        """The warn limits shown beside a value of this measure: low and high, as text."""
        low = high = None
        for rule in self.rules:
            if measure in rule.when.metric and rule.upgrade:
                if rule.when.op[0] == "<":
                    low = f"{rule.when.value:f}"
                else:
                    high = f"{rule.when.value:f}"
        return low, high


def load(path: Path | None = None) -> Ruleset:
    """Return the ruleset in `path`, or the built-in adult-default.

    Raises:
        ConfigRefused: unreadable, not TOML, a wrong or unknown key, or not approved.
    """
    source = path or DEFAULT
    try:
        return Ruleset.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigRefused(f"{source}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        lines = [f"{source}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise ConfigRefused("\n".join(lines)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigRefused(f"{source}: not valid TOML: {error}") from error

"""Which SIM to use: the other one after long trouble, the preferred one again after a long good time (pure).

A change takes the modem off the network for up to a minute, so it must not be made lightly, and never to and fro.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from edge_node.uplink.modem.sight import ModemState, RadioSight, bars

SWITCH_LIMIT_S = 120.0
"""A modem that has not come back with the chosen SIM by then has not changed."""
HELPLESS = frozenset({ModemState.ABSENT, ModemState.FAILED, ModemState.OFF, ModemState.STARTING})
"""No other SIM helps a modem that is away or not running."""


@dataclass(frozen=True, slots=True)
class SimPolicy:
    """When to change; all times in seconds."""

    preferred: int = 1
    other: int = 2
    no_service_s: float = 120.0
    """Without service this long: change."""
    no_hub_s: float = 300.0
    """Hub not heard and radio poor, both this long: change.  With a good radio it is the hub that is gone."""
    poor_bars: int = 1
    """Up to so many bars the radio is poor."""
    stay_s: float = 600.0
    """After a change for trouble, or by somebody's hand, at least so long on that SIM."""
    return_s: float = 3600.0
    """Good service on the other SIM this long: try the preferred one."""
    longest_return_s: float = 86_400.0
    """A return that fails makes the next one wait twice as long, up to this."""


@dataclass(frozen=True, slots=True)
class SimSample:
    """What is known at one instant; to be made about once a second, also while nothing is told."""

    at_s: float
    """Monotonic clock."""
    slot: int | None
    """In use by the modem; None: not known, or the modem is away."""
    has_service: bool | None
    """None: the modem is away or not running, which no SIM can help."""
    bars: int | None
    hub_silent_s: float
    """Since the hub was last heard; since the start where it never was."""


class Reason(StrEnum):
    """Why a SIM was chosen."""

    START = "start"
    FOUND = "found"
    """The modem has it: somebody chose it by hand, or the modem did not change."""
    NO_SERVICE = "no-service"
    NO_HUB = "no-hub"
    RETURN = "return"


FREE = frozenset({Reason.START, Reason.RETURN})
"""A SIM chosen for these may be left without staying: a return that fails is undone at once, and waits longer then."""


@dataclass(frozen=True, slots=True)
class SimChoice:
    """The SIM that should be in use, and what was seen since it was chosen."""

    slot: int
    reason: Reason
    since_s: float
    return_s: float
    """How long it must be good on the other SIM before the next return."""
    is_seen: bool = False
    """Whether the modem was seen with it yet."""
    no_service_since_s: float | None = None
    poor_since_s: float | None = None
    good_since_s: float | None = None


def sample_of(sight: RadioSight, at_s: float, hub_silent_s: float) -> SimSample:
    """Return what the last sight says now."""
    has_service = None if sight.state in HELPLESS else sight.has_service
    return SimSample(at_s, sight.sim_slot, has_service, bars(sight), hub_silent_s)


def begin(policy: SimPolicy, at_s: float) -> SimChoice:
    """Return the choice at the start: the preferred SIM, until the modem shows which one it has."""
    return SimChoice(policy.preferred, Reason.START, at_s, policy.return_s)


def step(policy: SimPolicy, choice: SimChoice, sample: SimSample) -> SimChoice:
    """Return the choice after one sample.

    Where its slot is neither that of the choice before nor that of the sample, the modem is to change to it, once.
    """
    choice = _observed(policy, _settled(choice, sample), sample)
    reason = _trouble(policy, choice, sample)
    if reason is not None and (choice.reason in FREE or sample.at_s - choice.since_s >= policy.stay_s):
        return _left(policy, choice, reason, sample.at_s)
    if choice.slot != policy.preferred and _lasts(choice.good_since_s, choice.return_s, sample.at_s):
        return SimChoice(policy.preferred, Reason.RETURN, sample.at_s, choice.return_s)
    return choice


def refused(choice: SimChoice, slot_in_use: int, at_s: float) -> SimChoice:
    """Return the choice after the modem refused to change: it stays, and is not asked again before `stay_s`."""
    return SimChoice(slot_in_use, Reason.FOUND, at_s, choice.return_s, is_seen=True)


def _settled(choice: SimChoice, sample: SimSample) -> SimChoice:
    """Take note of the SIM that the modem has: the chosen one, the one before while it changes, or another."""
    if sample.slot is None:
        return choice
    if sample.slot == choice.slot:
        return choice if choice.is_seen else replace(choice, is_seen=True)
    is_changing = not choice.is_seen and choice.reason is not Reason.START
    if is_changing and sample.at_s - choice.since_s < SWITCH_LIMIT_S:
        return choice
    reason = Reason.START if choice.reason is Reason.START and not choice.is_seen else Reason.FOUND
    return SimChoice(sample.slot, reason, sample.at_s, choice.return_s, is_seen=True)


def _observed(policy: SimPolicy, choice: SimChoice, sample: SimSample) -> SimChoice:
    lacks_service = sample.has_service is False
    is_poor = lacks_service or (sample.bars is not None and sample.bars <= policy.poor_bars)
    is_good = sample.has_service is True and not is_poor and sample.hub_silent_s < policy.no_hub_s
    return replace(
        choice,
        no_service_since_s=_since(choice.no_service_since_s, lacks_service, sample.at_s),
        poor_since_s=_since(choice.poor_since_s, is_poor and sample.has_service is not None, sample.at_s),
        good_since_s=_since(choice.good_since_s, is_good, sample.at_s),
    )


def _trouble(policy: SimPolicy, choice: SimChoice, sample: SimSample) -> Reason | None:
    if _lasts(choice.no_service_since_s, policy.no_service_s, sample.at_s):
        return Reason.NO_SERVICE
    is_silent = sample.hub_silent_s >= policy.no_hub_s
    return Reason.NO_HUB if is_silent and _lasts(choice.poor_since_s, policy.no_hub_s, sample.at_s) else None


def _left(policy: SimPolicy, choice: SimChoice, reason: Reason, at_s: float) -> SimChoice:
    """Return the choice of the other slot; a return that did not last makes the next one wait twice as long."""
    return_s = choice.return_s
    if choice.slot != policy.preferred:
        return SimChoice(policy.preferred, reason, at_s, return_s)
    if at_s - choice.since_s >= return_s:
        return_s = policy.return_s
    elif choice.reason is Reason.RETURN:
        return_s = min(return_s * 2, policy.longest_return_s)
    return SimChoice(policy.other, reason, at_s, return_s)


def _since(since_s: float | None, holds: bool, at_s: float) -> float | None:
    if not holds:
        return None
    return at_s if since_s is None else since_s


def _lasts(since_s: float | None, limit_s: float, at_s: float) -> bool:
    return since_s is not None and at_s - since_s >= limit_s

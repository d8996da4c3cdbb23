"""A relay described in TOML or JSON: read from files that people write, and sent between our processes."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tests.faults.relay import traces
from tests.faults.relay.settings import QUEUE_BYTES, Loss, Settings, bursts, plain
from tests.faults.relay.traces import Capacity

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Steps = Annotated[list[tuple[float, float]], Field(min_length=1)]
READERS = {
    "mahimahi": traces.read_mahimahi,
    "hsdpa": traces.read_hsdpa,
    "ucc5g-down": traces.read_ucc5g,
    "ucc5g-up": traces.read_ucc5g_uplink,
}


class Section(BaseModel):
    """A part of a profile: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TraceProfile(Section):
    """A recording that gives the capacity."""

    file: Path = Field(description="The recording; relative to where the relay is started.")
    format: Literal["mahimahi", "hsdpa", "ucc5g-down", "ucc5g-up"] = Field(description="What recorded it.")
    start_s: Seconds = Field(default=0, description="Where in the recording to begin.")
    scale: float = Field(default=1, gt=0, description="Every rate is multiplied by this.")
    floor_bps: float = Field(default=0, ge=0, description="No rate is below this.")

    def capacity(self) -> Capacity:
        """Read the recording; raises OSError or ValueError."""
        return READERS[self.format](self.file).scaled(self.scale).at_least(self.floor_bps).starting_at(self.start_s)


class BurstProfile(Section):
    """Loss in bursts, in which nothing passes."""

    share: Share = Field(description="Share of packets lost in the long run.")
    burst_packets: float = Field(ge=1, description="Mean length of a burst.")


class GilbertElliott(Section):
    """The four probabilities of the Gilbert-Elliott model."""

    to_bad: Share = Field(description="Of the good state turning bad, before each packet.")
    to_good: Share = Field(description="Of the bad state turning good, before each packet.")
    in_good: Share = Field(description="Of losing a packet in the good state.")
    in_bad: Share = Field(description="Of losing a packet in the bad state.")


class DirectionProfile(Section):
    """One direction; what is left out does nothing.  `settings.Settings` says what each means."""

    rate_bps: float | None = Field(default=None, ge=0, description="Constant capacity.")
    steps: Steps | None = Field(default=None, description="Capacity as [seconds, bits per second], repeated.")
    trace: TraceProfile | None = Field(default=None, description="Capacity from a recording.")
    queue_bytes: int = Field(default=QUEUE_BYTES, ge=0, description="What may wait; the rest is dropped.")
    delay_s: Seconds = Field(default=0, description="Travel time.")
    jitter_s: Seconds = Field(default=0, description="By how much it varies either way.")
    loss: Share | BurstProfile | GilbertElliott = Field(default=0, description="A share, bursts, or the full model.")
    reorder: Share = Field(default=0, description="Share of packets held back.")
    reorder_by_s: Seconds = Field(default=0.02, description="For how long.")
    duplicate: Share = Field(default=0, description="Share of packets that arrive twice.")
    corrupt: Share = Field(default=0, description="Share of packets with a changed byte.")
    cut: bool = Field(default=False, description="Nothing passes.")
    piece_bytes: int = Field(default=1400, ge=1, description="Largest piece of the byte-stream relay.")

    @model_validator(mode="after")
    def _has_one_capacity(self) -> "DirectionProfile":
        if sum(given is not None for given in (self.rate_bps, self.steps, self.trace)) > 1:
            raise ValueError("rate_bps, steps and trace exclude each other")
        return self

    def settings(self) -> Settings:
        """Return what it describes; raises OSError or ValueError for a recording that cannot be read."""
        given = self.model_dump(exclude={"rate_bps", "steps", "trace", "loss"})
        return Settings(rate=self._rate(), loss=self._loss(), **given)

    def _rate(self) -> Capacity | None:
        if self.trace is not None:
            return self.trace.capacity()
        if self.steps is not None:
            return Capacity(*(tuple(column) for column in zip(*self.steps, strict=True)))
        return None if self.rate_bps is None else traces.constant(self.rate_bps)

    def _loss(self) -> Loss:
        if isinstance(self.loss, BurstProfile):
            return bursts(self.loss.share, self.loss.burst_packets)
        if isinstance(self.loss, GilbertElliott):
            return Loss(**self.loss.model_dump())
        return plain(self.loss)


class Profile(Section):
    """A whole relay."""

    kind: Literal["tunnel", "datagram", "stream"] = Field(description="Packets, UDP datagrams or TCP bytes.")
    seed: int = Field(default=1, description="The same seed strikes the same packets.")
    up: DirectionProfile = Field(default=DirectionProfile(), description="Towards the hub, or the target.")
    down: DirectionProfile = Field(default=DirectionProfile(), description="Back.")
    listen: str = Field(default="127.0.0.1:0", description="Where clients find a datagram or stream relay.")
    target: str | None = Field(default=None, description="host:port to which it leads; the tunnel has none.")

    within: str | None = Field(default=None, description="Namespace in which a stream relay finds its target.")

    @model_validator(mode="after")
    def _has_the_target_it_needs(self) -> "Profile":
        if (self.target is None) != (self.kind == "tunnel"):
            raise ValueError("a datagram or stream relay has a target, a tunnel has none")
        if self.within is not None and self.kind != "stream":
            raise ValueError("only a stream relay can reach into a namespace")
        for address in (self.listen, self.target):
            if address is not None and not address.rpartition(":")[2].isdigit():
                raise ValueError(f"an address is host:port, not {address}")
        return self


def read(path: Path) -> Profile:
    """Read a profile from a .toml or .json file; raises OSError, or ValueError for what it says."""
    text = path.read_text(encoding="utf-8")
    return Profile.model_validate(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))


def address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def described(settings: Settings) -> dict[str, Any]:
    """Return settings as a direction of a profile, exact to the last bit."""
    names = set(DirectionProfile.model_fields) - {"rate_bps", "steps", "trace", "loss"}
    loss = {name: getattr(settings.loss, name) for name in GilbertElliott.model_fields}
    told: dict[str, Any] = {"loss": loss, **{name: getattr(settings, name) for name in names}}
    if settings.rate is not None:
        told["steps"] = list(zip(settings.rate.durations_s, settings.rate.rates_bps, strict=True))
    return told

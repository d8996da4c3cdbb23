"""The data keys of a store, one for each device and day, and how they are written down (pure).

A key for each device and day, because a person lies in a bed from one day to another: their rows are those of a
device in a stretch of time, and can be erased by forgetting keys, without the patient being named in any row.
"""

import base64
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

DAY_NS = 86_400 * 10**9
SECRET_BYTES = 32
CARE_SCOPE, KEPT_SCOPE = "care", "kept"
"""Scopes that are no device: the site's event log, which has one key for all days, and messages kept as they came."""


class Place(NamedTuple):
    """What shares a key."""

    scope: str
    """A device, or one of the scopes above."""
    day: int
    """Days since 1970 on the node's clock; 0 where all days share one."""


class DataKey(NamedTuple):
    """A key that payloads are sealed with."""

    key_id: int
    place: Place
    generation: int
    secret: bytes


@dataclass(slots=True)
class Keyring:
    """All data keys; changed by its owner alone, who writes it down before a new key is used."""

    made_ns: int
    """When the present generation began, on the node's clock."""
    generation: int = 1
    lookup: bytes = field(default_factory=lambda: secrets.token_bytes(SECRET_BYTES))
    """Hides what messages are known by; stays when keys change, or nobody would be known again."""
    keys: dict[int, DataKey] = field(default_factory=dict)
    has_lost: bool = False
    """Whether an earlier keyring of this store is gone, so that a key that is not here need not be damage."""
    retired: list[str] = field(default_factory=list)
    """Names of keys at the keeper that are to be destroyed once this is written down."""

    def newest(self) -> dict[Place, DataKey]:
        """Return the keys of the present generation by what they are for."""
        return {key.place: key for key in self.keys.values() if key.generation == self.generation}

    def old(self) -> set[int]:
        """Return the ids of keys of earlier generations."""
        return {key.key_id for key in self.keys.values() if key.generation != self.generation}

    def add(self, places: Iterable[Place]) -> None:
        """Make a key for each place."""
        for place in places:
            key_id = self._free_id()
            self.keys[key_id] = DataKey(key_id, place, self.generation, secrets.token_bytes(SECRET_BYTES))

    def packed(self) -> bytes:
        """Return it as it is wrapped."""
        keys = [[key.key_id, *key.place, key.generation, _text(key.secret)] for key in self.keys.values()]
        said = {
            "made_ns": self.made_ns,
            "generation": self.generation,
            "lookup": _text(self.lookup),
            "has_lost": self.has_lost,
            "retired": self.retired,
            "keys": keys,
        }
        return json.dumps(said).encode()

    @classmethod
    def of(cls, packed: bytes) -> "Keyring":
        """Return what was written down.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        said = json.loads(packed)
        keys = {
            key_id: DataKey(key_id, Place(scope, day), generation, base64.b64decode(secret))
            for key_id, scope, day, generation, secret in said["keys"]
        }
        lookup = base64.b64decode(said["lookup"])
        return cls(said["made_ns"], said["generation"], lookup, keys, said["has_lost"], said["retired"])

    def _free_id(self) -> int:
        while True:
            key_id = secrets.randbits(32)
            if key_id and key_id not in self.keys:
                return key_id


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()

"""Who may do what at the MQTT broker: pure, the same for every broker (decision 10).

The secrets file is JSON: `{"hub": {"secret": ...}, "edge-clinic": {"secret": ..., "region": ..., "site": ...}}`.
A user without region and site is the hub's own; every other user is the node of that name.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path

from telemed.topics import NodeAddress

from cloud_hub.errors import ConfigRefused


@dataclass(frozen=True, slots=True)
class User:
    """One user of the broker."""

    name: str
    secret_sha256: bytes
    node: NodeAddress | None
    """None for the hub."""

    def may_publish(self, topic: str) -> bool:
        """Return whether this user may publish to `topic`."""
        return topic.startswith("down/" if self.node is None else self.node.up_prefix)

    def may_read(self, topic_filter: str) -> bool:
        """Return whether this user may subscribe to a filter or receive a topic.

        A prefix test on the filter itself refuses wildcards above the node's own level.
        """
        if self.node is None:
            return topic_filter.startswith("up/")
        return topic_filter.startswith(self.node.down_prefix)


class Users:
    """All users of the broker."""

    def __init__(self, users: dict[str, User]) -> None:
        self.by_name = users

    def admit(self, name: str | None, secret: str | None, client_id: str | None, will_topic: str | None) -> User | None:
        """Return the user who may connect, None for anybody else.

        The client id must begin with `<user name>.`; a will is refused, as brokers do not check its topic.
        """
        given = hashlib.sha256((secret or "").encode()).digest()
        user = self.by_name.get(name or "")
        # Compared even for an unknown name: the time taken tells nothing.
        right = hmac.compare_digest(given, user.secret_sha256 if user else bytes(32))
        if not right or user is None or will_topic:
            return None
        return user if (client_id or "").startswith(f"{user.name}.") else None


def load_users(path: Path) -> Users:
    """Return the users of the secrets file.

    Raises:
        ConfigRefused: unreadable, not JSON, or an entry without secret, or with only one of region and site.
    """
    secrets = read_secrets(path)
    return Users({name: _user(path, name, entry) for name, entry in secrets.items()})


def read_secrets(path: Path) -> dict[str, dict[str, str]]:
    """Return the secrets file as it stands.

    Raises:
        ConfigRefused: unreadable or not a JSON object of objects.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigRefused(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigRefused(f"{path}: not valid JSON") from error
    if not isinstance(raw, dict) or not all(isinstance(entry, dict) for entry in raw.values()):
        raise ConfigRefused(f"{path}: must be a JSON object: user name -> secret, region, site")
    return raw


def _user(path: Path, name: str, entry: dict[str, str]) -> User:
    secret = entry.get("secret")
    if not isinstance(secret, str) or not secret:
        raise ConfigRefused(f"{path}: {name}: needs a secret")
    digest = hashlib.sha256(secret.encode()).digest()
    if "region" not in entry and "site" not in entry:
        return User(name, digest, None)
    try:
        address = NodeAddress(entry["region"], entry["site"], name)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigRefused(f"{path}: {name}: {error}") from error
    return User(name, digest, address)

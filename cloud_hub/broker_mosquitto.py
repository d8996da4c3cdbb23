"""Settings of an external Mosquitto with the same users and rights as the embedded broker.

With certificates the user is the common name, and each node's rights are written out one by one: a pattern over the
name would let a node speak for another site.
"""

import base64
import hashlib
import os
import pwd
import secrets as random
from pathlib import Path

from telemed.wire import CONTAINER_LIMIT_BYTES

from cloud_hub.access.ca_folder import AUTHORITY, BROKERS, LISTENERS, LISTENERS_KEY, REVOKED, CaFolder
from cloud_hub.broker_rights import Users, load_users, read_secrets

_ITERATIONS = 101
"""Mosquitto's own default; our secrets are random, so that stretching adds nothing."""

QUEUED_LIMIT_BYTES = 256 * 1024 * 1024
"""What the broker keeps at most for a client that reads slowly; it holds nothing while the client reads."""


def write_settings(secrets_file: Path, folder: Path, host: str, port: int) -> Path:
    """Write mosquitto.conf, passwords and rights into `folder`; return the path of mosquitto.conf.

    Started as root, Mosquitto changes to its own user: the files are given to that user where it exists.

    Raises:
        ConfigRefused: the secrets file cannot be used.
    """
    users = load_users(secrets_file)
    folder.mkdir(parents=True, exist_ok=True)
    passwords = "".join(f"{name}:{_hashed(entry['secret'])}\n" for name, entry in read_secrets(secrets_file).items())
    config = folder / "mosquitto.conf"
    for path, text in (
        (folder / "passwords", passwords),
        (folder / "rights", rights(users)),
        (config, _config(folder, f"listener {port} {host}\npassword_file {folder / 'passwords'}")),
    ):
        _put(path, text)
    return config


def write_certified_settings(authority: CaFolder, users: Users, folder: Path, host: str, port: int) -> Path:
    """Write mosquitto.conf, rights, keys and revocations into `folder`; return the path of mosquitto.conf."""
    folder.mkdir(parents=True, exist_ok=True)
    # A Mosquitto that runs reads its files anew when it is told to, but never their names.
    for name in (LISTENERS, LISTENERS_KEY):
        _put(folder / name, authority.pem(name).decode())
    write_admitted(authority, users, folder)
    listener = f"""listener {port} {host}
tls_version tlsv1.3
cafile {folder / AUTHORITY}
certfile {folder / LISTENERS}
keyfile {folder / LISTENERS_KEY}
crlfile {folder / REVOKED}
require_certificate true
use_identity_as_username true"""
    config = folder / "mosquitto.conf"
    _put(config, _config(folder, listener))
    return config


def write_admitted(authority: CaFolder, users: Users, folder: Path) -> None:
    """Write what changes while Mosquitto runs: who has which rights, who is shut out, and whose certificates count."""
    _put(folder / "rights", rights(users))
    _put(folder / REVOKED, authority.pem(REVOKED).decode())
    _put(folder / AUTHORITY, authority.pem(BROKERS).decode())


def rights(users: Users) -> str:
    """Return the access list: each node its own topics, the hub all of them."""
    blocks = []
    for user in users.by_name.values():
        up, down = ("down/", "up/") if user.node is None else (user.node.up_prefix, user.node.down_prefix)
        blocks.append(f"user {user.name}\ntopic write {up}#\ntopic read {down}#\n")
    return "\n".join(blocks)


def _put(path: Path, text: str) -> None:
    """Put a file in place whole: a broker that reads it meanwhile must not see a half."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    _give_to_mosquitto(fresh)
    fresh.replace(path)


def _config(folder: Path, listener: str) -> str:
    return f"""# Made by the hub; made anew when secrets or nodes change.
{listener}
allow_anonymous false
acl_file {folder / "rights"}
# Both sides have outboxes: the broker needs to remember nothing.
persistence false
retain_available false
# 5,000 patients bring 10,000 messages a second, and what a client has no room for is dropped in silence: let the bytes
# bound it. A quarter of a gigabyte is what 5,000 patients send while a hub that stands still is not yet given up.
# Not 0, "no limit": Mosquitto 2.0.11 then ends a connection that publishes what its rights forbid.
max_queued_messages 1000000
max_queued_bytes {QUEUED_LIMIT_BYTES}
max_inflight_messages 2000
max_packet_size {CONTAINER_LIMIT_BYTES + 1024}
set_tcp_nodelay true
log_dest stderr
log_type warning
log_type error
"""


def _hashed(secret: str) -> str:
    salt = random.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _give_to_mosquitto(path: Path) -> None:
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam("mosquitto")
    except KeyError:
        return
    os.chown(path, user.pw_uid, user.pw_gid)

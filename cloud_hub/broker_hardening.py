"""The embedded amqtt broker made fit for use: the cures for the holes of amqtt 0.12.1.

As shipped it deletes a session before it checks the password, waits for a CONNECT for ever, believes any
packet length, keeps retained messages without bound, and leaves the old socket of a client that came back
open and deaf.  This changes internals of amqtt, so its version is pinned and each cure has a test.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqtt.broker
import amqtt.mqtt.protocol.handler
from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker, BrokerContext
from amqtt.contexts import Action
from amqtt.errors import MQTTError, NoDataError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.plugins.manager import PluginManager
from amqtt.session import Session
from telemed.wire import CONTAINER_LIMIT_BYTES

from cloud_hub import broker_certificates
from cloud_hub.access import tls
from cloud_hub.access.ca_folder import TRUSTED
from cloud_hub.broker_certificates import Certified
from cloud_hub.broker_rights import User, load_users

CONNECT_WITHIN_S = 5
PACKET_LIMIT_BYTES = CONTAINER_LIMIT_BYTES + 1024
"""A full container and its topic."""

log = logging.getLogger("cloud_hub.broker")


class PacketTooLarge(Exception):
    """Not an MQTTError on purpose: amqtt would skip the head and read the body as packets."""


class BoundedHeader(MQTTFixedHeader):  # type: ignore[misc]  # amqtt is untyped
    """A fixed header that does not believe every length."""

    @classmethod
    async def from_stream(cls, reader: ReaderAdapter) -> "BoundedHeader | None":
        """Read a header; end the connection if it announces too much."""
        header: BoundedHeader | None = await super().from_stream(reader)
        if header is not None and header.remaining_length > PACKET_LIMIT_BYTES:
            log.warning("packet-too-large")
            raise PacketTooLarge(f"{header.remaining_length} bytes announced")
        return header


class CheckedFirst(BrokerProtocolHandler):  # type: ignore[misc]  # amqtt is untyped
    """Reads the CONNECT in bounded time and checks who it is before any session is touched."""

    @classmethod
    async def init_from_connect(
        cls,
        reader: ReaderAdapter,
        writer: WriterAdapter,
        plugins_manager: PluginManager[BrokerContext],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> tuple[BrokerProtocolHandler, Session]:
        """Return handler and session of somebody who may connect.

        Raises:
            MQTTError: too slow, damaged, or not who they say; the connection is closed.
        """
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                handler, session = await super().init_from_connect(reader, writer, plugins_manager, loop)
        except (TimeoutError, PacketTooLarge, NoDataError, ValueError, IndexError) as error:
            await writer.close()
            raise MQTTError(f"no CONNECT: {type(error).__name__}") from error
        answers = await plugins_manager.map_plugin_auth(session=session)
        if not answers or not all(answers.values()):
            log.warning("connect-refused user=%s", _printable(session.username))
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            await writer.close()
            raise MQTTError("not authorised")
        return handler, session


class HardenedBroker(Broker):  # type: ignore[misc]  # amqtt is untyped
    """A broker that remembers nothing and closes the old socket when a client comes back."""

    @staticmethod
    def _create_ssl_context(listener: Any) -> ssl.SSLContext:
        """Return a context that demands a certificate: amqtt's own lets in whoever shows none."""
        return tls.listener(Path(listener["cafile"]).parent)

    async def cut(self, is_denied: Callable[[Session], bool]) -> None:
        """Close the connections of all sessions that are not to go on; one that fails keeps none of the others open."""
        for session, handler in list(self._sessions.values()):
            try:
                if handler is not None and session.transitions.is_connected() and is_denied(session):
                    log.warning("cut client=%s", _printable(session.client_id))
                    await handler.handle_connection_closed()
                    await handler.stop()
            except Exception as error:
                log.warning("cut-failed client=%s why=%s", _printable(session.client_id), type(error).__name__)

    async def retain_message(
        self, source_session: Session | None, topic_name: str | None, data: Any, qos: int | None = None
    ) -> None:
        """Keep nothing: no retained state is one of our rules (decision 10)."""

    async def _delete_session(self, client_id: str) -> None:
        _, handler = self._sessions.get(client_id, (None, None))
        await super()._delete_session(client_id)
        if handler is not None and handler.session is not None and handler.session.transitions.is_connected():
            log.warning("taken-over client=%s", _printable(client_id))
            await handler.handle_connection_closed()
            await handler.stop()


class NodeAuth(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is untyped
    """Admits the users of the secrets file."""

    @dataclass
    class Config:
        """Settings of this plug-in."""

        secrets: str = ""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._users = load_users(Path(self.config.secrets))

    async def authenticate(self, *, session: Session) -> bool:
        """Return whether this is a user of ours, with a client id of its own and without a will."""
        will = session.will_topic if session.will_flag else None
        return self._users.admit(session.username, session.password, session.client_id, will) is not None


class NodeAcl(BaseTopicPlugin):  # type: ignore[misc]  # amqtt is untyped
    """Keeps each node to its own topics, in all three directions."""

    @dataclass
    class Config:
        """Settings of this plug-in."""

        secrets: str = ""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._users = load_users(Path(self.config.secrets))

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Return whether the session may do `action` on `topic`."""
        user: User | None = self._users.by_name.get((session.username or "") if session else "")
        if user is None or not topic:
            return False
        allowed = user.may_publish(topic) if action == Action.PUBLISH else user.may_read(topic)
        if not allowed and action != Action.RECEIVE:
            log.warning("topic-refused user=%s action=%s", user.name, action)
        return allowed


def harden() -> None:
    """Put the cures in place; called once, before a broker is made."""
    amqtt.broker.BrokerProtocolHandler = CheckedFirst
    amqtt.mqtt.protocol.handler.MQTTFixedHeader = BoundedHeader
    ConnectPacket.FIXED_HEADER = BoundedHeader


def certified_settings(host: str, port: int, certified: Certified) -> dict[str, Any]:
    """Return the configuration of amqtt where nodes have certificates."""
    found = settings(host, port, Path())
    listener = {"ssl": True, "cafile": str(certified.folder / TRUSTED)}
    found["listeners"]["default"] |= listener
    found["plugins"] = broker_certificates.plugins(certified)
    return found


def settings(host: str, port: int, secrets: Path) -> dict[str, Any]:
    """Return the configuration of amqtt where nodes have secrets."""
    here = f"{NodeAuth.__module__}."
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}", "max_connections": 500}},
        "timeout_disconnect_delay": 2,
        "session_expiry_interval": 3600,
        # Naming plug-ins replaces amqtt's own, which allow anybody and log packets.
        "plugins": {
            here + NodeAuth.__name__: {"secrets": str(secrets)},
            here + NodeAcl.__name__: {"secrets": str(secrets)},
        },
    }


def _printable(text: str | None) -> str:
    return "".join(char for char in (text or "")[:40] if char.isascii() and char.isprintable())

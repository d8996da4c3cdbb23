"""D-Bus for the modem: one connection, calls to ModemManager with a limit in time, foreign errors translated."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import cast

from dbus_fast import BusType, DBusFastError, Message, MessageFlag, MessageType, unpack_variants
from dbus_fast.aio import MessageBus

from edge_node.errors import ModemUnreachable
from edge_node.uplink.modem.properties import ROOT, SERVICE, Interfaces

ANSWER_LIMIT_S = 10.0
CLOSE_LIMIT_S = 1.0

DBUS, DBUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
PROPERTIES, MANAGER = f"{DBUS}.Properties", f"{DBUS}.ObjectManager"
WATCHED = (
    f"type='signal',sender='{SERVICE}',interface='{MANAGER}',path='{ROOT}'",
    f"type='signal',sender='{SERVICE}',interface='{PROPERTIES}',member='PropertiesChanged',path_namespace='{ROOT}'",
    f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
)
"""Match rules for all that is told of modems, and of ModemManager's own coming and going."""
_WAIT_FOR_END: Callable[[MessageBus], Coroutine[object, object, None]] = MessageBus.wait_for_disconnect
GONE = frozenset({f"{DBUS}.Error.ServiceUnknown", f"{DBUS}.Error.NameHasNoOwner", f"{DBUS}.Error.NoReply"})
"""Errors that say: it does not run, or ended before it answered."""


@contextlib.asynccontextmanager
async def connected(address: str | None) -> AsyncIterator[MessageBus]:
    """Hold a connection to the bus; None: the system bus.

    Raises:
        ModemUnreachable: there is no bus at that address, or it lets nobody in.
    """
    try:
        bus = MessageBus(bus_address=address, bus_type=BusType.SYSTEM, auth_timeout=ANSWER_LIMIT_S)
        await bus.connect()
    except (OSError, EOFError, DBusFastError) as error:
        raise ModemUnreachable(f"no D-Bus: {error}") from error
    try:
        yield bus
    finally:
        bus.disconnect()
        # The socket is closed one step later; an end that the other side made was told already.
        with contextlib.suppress(OSError, EOFError, DBusFastError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await end_of(bus)


async def end_of(bus: MessageBus) -> None:
    """Wait until the connection ends; raises what the library raises where the other side ended it."""
    # Shielded, because the library would take one waiter's cancellation for the end of the connection.
    await asyncio.shield(_WAIT_FOR_END(bus))


async def ask(bus: MessageBus, message: Message, limit_s: float = ANSWER_LIMIT_S) -> Message:
    """Return the answer, which may be an error.

    Raises:
        ModemUnreachable: none came in time.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await bus.call(message)
    except (OSError, EOFError, DBusFastError) as error:  # TimeoutError is an OSError
        raise ModemUnreachable(f"{message.member}: no answer ({type(error).__name__})") from error


async def watch(bus: MessageBus) -> None:
    """Have everything told that `WATCHED` names.

    Raises:
        ModemUnreachable: the bus does not answer.
    """
    for rule in WATCHED:
        await ask(
            bus,
            Message(destination=DBUS, path=DBUS_PATH, interface=DBUS, member="AddMatch", signature="s", body=[rule]),
        )


def call(path: str, interface: str, member: str, signature: str = "", body: list[object] | None = None) -> Message:
    """Return a call to ModemManager, which is not started by it."""
    return Message(
        destination=SERVICE,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=body or [],
        flags=MessageFlag.NO_AUTOSTART,
    )


def list_objects() -> Message:
    """Return the call that lists all modems with all their properties."""
    return call(ROOT, MANAGER, "GetManagedObjects")


def listing_of(answer: Message) -> dict[str, Interfaces] | None:
    """Return the objects by the answer to `list_objects`; None where ModemManager does not run.

    Raises:
        ModemUnreachable: it runs and refuses to tell.
    """
    if not is_error(answer):
        return cast("dict[str, Interfaces]", unpack_variants(answer.body[0]))
    if answer.error_name in GONE:
        return None
    raise ModemUnreachable(f"GetManagedObjects: {answer.error_name}: {error_text(answer)}")


def is_error(answer: Message) -> bool:
    """Whether the answer is an error."""
    return answer.message_type is MessageType.ERROR


def error_text(answer: Message) -> str:
    """Return what the error says in words."""
    return str(answer.body[0]) if answer.body else ""

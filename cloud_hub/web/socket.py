"""The live socket `/api/v1/live`: a snapshot, then what changes; pages say what they watch, saw and signal."""

import asyncio
import contextlib
import secrets
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect
from pydantic import TypeAdapter, ValidationError
from telemed import screen

from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import CareError, HubError
from cloud_hub.web.api.session import me
from cloud_hub.web.feeds import Feed
from cloud_hub.web.guard import CLOSE_NOT_SIGNED_IN, access_of, require_socket, session_token
from cloud_hub.web.parts import Parts, parts_of
from cloud_hub.web.viewed import viewed_of

STILL_SIGNED_IN_S = 10.0
"""How often an open socket asks whether its session still lives, and what may be seen with it."""
LIVE_VIEW = "live-view"
MESSAGE_LIMIT_BYTES = 128 * 1024
SEND_WITHIN_S = 20.0
"""A page that takes nothing for this long is let go."""
CLOSE_TOO_LARGE, CLOSE_UNREADABLE = 1009, 4400

router = APIRouter(tags=["live"])
log = structlog.get_logger()
_MESSAGE: TypeAdapter[screen.PageMessage] = TypeAdapter(screen.PageMessage)


@router.websocket("/api/v1/live")
async def live(socket: WebSocket, principal: Annotated[Principal, Depends(require_socket(Right.SIGNED_IN))]) -> None:
    """Serve one page until it leaves or its session ends."""
    parts = parts_of(socket)
    await socket.accept()
    feed = parts.live.join(principal, secrets.token_hex(8))
    try:
        async with asyncio.TaskGroup() as group:
            for work in (
                _send(socket, parts, feed),
                _receive(socket, parts, feed),
                _still_signed_in(socket, parts, feed),
            ):
                group.create_task(work)
    except* (WebSocketDisconnect, TimeoutError, _Over):
        pass
    finally:
        parts.live.leave(feed)
        parts.signals.page_gone(feed.client)
        # The page may have gone first: RuntimeError where that was heard, a disconnect where the write failed.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close()


class _Over(Exception):
    """This page is served no longer; its socket has been closed with the reason."""


async def _send(socket: WebSocket, parts: Parts, feed: Feed) -> None:
    while True:
        text = await feed.next()
        if text is None:
            text = snapshot(parts, feed.principal)
            feed.shown, feed.has_unwritten = parts.live.picture.persons_for(feed.principal), True
        if feed.has_unwritten:
            feed.has_unwritten = False
            await viewed_of(socket).show(feed.principal, LIVE_VIEW, feed.shown)
        async with asyncio.timeout(SEND_WITHIN_S):
            await socket.send_text(text)


async def _receive(socket: WebSocket, parts: Parts, feed: Feed) -> None:
    while True:
        text = await socket.receive_text()
        if len(text) > MESSAGE_LIMIT_BYTES:
            await socket.close(CLOSE_TOO_LARGE, "too-large")
            raise _Over
        try:
            message = _MESSAGE.validate_json(text)
        except ValidationError:
            await socket.close(CLOSE_UNREADABLE, "unreadable")
            raise _Over from None
        await _take(parts, feed, message)


async def _still_signed_in(socket: WebSocket, parts: Parts, feed: Feed) -> None:
    """End the page with its session; while it lasts, show no more and no less than its person may see by now.

    Whoever goes on looking is written into the audit trail again now and then.
    """
    token, kind = session_token(socket)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STILL_SIGNED_IN_S):
                await feed.rights_changed.wait()
        feed.rights_changed.clear()
        present = await access_of(socket).present(token, kind)
        if present is None:
            await socket.close(CLOSE_NOT_SIGNED_IN, "not-signed-in")
            raise _Over
        if feed.rights_changed.is_set():
            continue  # what was read may be older than the change
        feed.belongs_to(present)
        feed.shown = parts.live.picture.persons_for(present)
        await viewed_of(socket).show(present, LIVE_VIEW, feed.shown)


async def _take(parts: Parts, feed: Feed, message: screen.PageMessage) -> None:
    match message:
        case screen.Watch():
            parts.live.watch(feed, message.bed_keys)
        case screen.Seen():
            await _saw(parts, feed, message.alarm_ids)
        case screen.SignalMessage():
            _signal(parts, feed, message.signal)


async def _saw(parts: Parts, feed: Feed, alarm_ids: list[str]) -> None:
    if not feed.principal.may(Right.ACT_ON_ALARM):
        return
    try:
        await parts.alarms.see(feed.principal, alarm_ids)
    except HubError as error:
        log.warning("seeing not noted", code=error.code)


def _signal(parts: Parts, feed: Feed, signal: screen.SignalView) -> None:
    try:
        parts.signals.from_page(feed.principal, feed.client, signal)
    except CareError as error:
        feed.put(parts.signals.refused(signal, error).model_dump_json())


def snapshot(parts: Parts, principal: Principal) -> str:
    """Return everything that this principal may see now, as JSON."""
    live, now_ns = parts.live, parts.live.now_ns()
    picture = live.picture
    sites = picture.sites_for(principal)
    return screen.Snapshot(
        face="hub",
        server_time_ms=now_ns // 10**6,
        demo=parts.config.demo,
        me=me(principal).model_copy(update={"sites": [site.site for site in sites]}),
        sites=sites,
        beds=picture.beds_for(principal, now_ns),
        alarms=picture.alarms_for(principal, now_ns),
        referrals=picture.referrals_for(principal, now_ns),
        consults=parts.signals.consults(principal),
    ).model_dump_json()

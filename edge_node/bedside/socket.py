"""The live WebSocket of a page."""

import asyncio

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import TypeAdapter, ValidationError
from telemed.roles import Right
from telemed.screen import PageMessage, Seen, SignalMessage, Watch

from edge_node.bedside.gate import cookie_of, is_own_origin, station_of
from edge_node.bedside.live import Page
from edge_node.bedside.station import Station
from edge_node.errors import EdgeError
from edge_node.samples.alarm import Ask

REFUSED = 4401
"""Close code for a page that is not signed in."""
TEXT_LIMIT_BYTES = 256 * 1024
_MESSAGES: TypeAdapter[Watch | Seen | SignalMessage] = TypeAdapter(PageMessage)
STEPS_NOTED = frozenset({"accept", "decline", "bye"})
"""Steps of a consult that the audit trail tells of: joining and leaving."""
router = APIRouter()


@router.websocket("/api/v1/live")
async def live(socket: WebSocket) -> None:
    """Feed one page until it closes or its session ends."""
    station = station_of(socket)
    token = socket.cookies.get(cookie_of(socket))
    session = station.accounts.session(token) if is_own_origin(socket) else None
    if session is None:
        await socket.accept()
        await socket.close(REFUSED)
        return
    await socket.accept()
    page = station.open_page(session)
    page.start_over()
    try:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send(socket, station, page))
            await _receive(socket, station, page)
            sending.cancel()
    except* (WebSocketDisconnect, RuntimeError):
        # Starlette raises RuntimeError where it is asked to send on a socket that has just closed.
        pass
    finally:
        station.close_page(page)


async def _send(socket: WebSocket, station: Station, page: Page) -> None:
    is_drawn = False

    def draw() -> str:
        nonlocal is_drawn
        is_drawn = True
        return station.snapshot(page)

    while True:
        is_drawn = False
        text = await page.next(draw)
        if station.accounts.session(page.session.token) is None:
            await socket.close(REFUSED)
            return
        await station.looked(page, at_referrals=is_drawn)
        await socket.send_text(text)


async def _receive(socket: WebSocket, station: Station, page: Page) -> None:
    while True:
        try:
            text = await socket.receive_text()
            message = _MESSAGES.validate_json(text[:TEXT_LIMIT_BYTES])
        except WebSocketDisconnect:
            return
        except (ValidationError, KeyError):
            continue
        try:
            await _take(message, station, page)
        except EdgeError:
            # A page that is late, or asks for what it may not do, is told by what it sees next.
            continue


async def _take(message: Watch | Seen | SignalMessage, station: Station, page: Page) -> None:
    if isinstance(message, Watch):
        page.watched = {key for key in message.bed_keys if page.may_see(key)}
        return
    if isinstance(message, SignalMessage):
        if not station.may(page.session, Right.JOIN_CONSULT):
            return
        signal = message.signal
        station.around.consults.from_page(page.page_id, signal)
        if signal.kind in STEPS_NOTED:
            await station.around.audit.note(page.session.who, f"consult-{signal.kind}", f"consult/{signal.consult_id}")
        return
    if not station.may(page.session, Right.ACT_ON_ALARM):
        return
    unseen = {alarm.alarm_id for alarm in station.around.ward.alarms() if alarm.seen_by is None}
    for alarm_id in message.alarm_ids:
        if alarm_id in unseen and station.sees_alarm(page.session, alarm_id):
            await station.around.ward.act(alarm_id, Ask("seen"), page.session.who)
            await station.around.audit.note(page.session.who, "alarm-seen", f"alarm/{alarm_id}")

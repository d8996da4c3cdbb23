"""`/api/v1/alarms`: what a person does with an alarm."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from telemed import screen

from cloud_hub.access.rights import Principal, Right
from cloud_hub.desk.alarms import Ask
from cloud_hub.web.guard import require
from cloud_hub.web.parts import parts_of
from cloud_hub.web.views import alarm_view

router = APIRouter(prefix="/api/v1/alarms", tags=["alarms"])
Actor = Annotated[Principal, Depends(require(Right.ACT_ON_ALARM))]
AlarmId = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")]


@router.post("/{alarm_id}/actions")
async def act(alarm_id: AlarmId, body: screen.AlarmActionBody, request: Request, principal: Actor) -> screen.Alarm:
    """Accept, pause, resolve or reset an alarm; 409 where somebody else has it or it is over."""
    parts = parts_of(request)
    ask = Ask(body.action, body.text, body.useful, body.pause_s)
    return alarm_view(await parts.alarms.act(principal, alarm_id, ask), parts.live.now_ns())

"""Serves one bundle with a generated moment: to look at screens and test them without hub or edge.

`python -m tests.ui.server --face hub --port 8180`; any password signs in, the account's name is its role.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from telemed import screen

from tests.ui import moment

UI = Path(__file__).parents[2] / "cloud_hub" / "web" / "ui" / "dist"
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Face:
    """State of the page's server: who asked what, and what is told to every socket."""

    def __init__(self, face: str, link: str) -> None:
        self.face, self.link = face, link
        self.sockets: set[asyncio.Queue[dict[str, Any]]] = set()
        self.started = now_ms()
        self.alarms = {each.alarm_id: each for each in moment.alarms(self.started)}
        self.referrals = {each.referral_id: each for each in moment.referrals(self.started)}
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.silent = False

    def tell(self, message: screen.View) -> None:
        for queue in self.sockets:
            queue.put_nowait(message.model_dump(mode="json"))

    def snapshot(self, role: str) -> screen.Snapshot:
        first = moment.snapshot(self.face, role, now_ms(), self.link)
        alarms = [self.alarms[each.alarm_id] for each in first.alarms]
        known = {each.referral_id for each in first.referrals}
        mine = [
            each for key, each in self.referrals.items() if key in known or key.startswith("new-") or len(key) == 36
        ]
        referrals = [each for each in mine if any(each.bed_key == bed.key for bed in first.beds)]
        return first.model_copy(update={"alarms": alarms, "referrals": referrals if first.beds else []})

    def act(self, alarm_id: str, body: screen.AlarmActionBody, role: str) -> None:
        alarm, now = self.alarms[alarm_id], now_ms()
        name = moment.me(role).name
        change: dict[str, Any] = {
            "steps": [*alarm.steps, screen.AlarmStep(phase=body.action, at_ms=now, who=name, note=body.text)]
        }
        if body.action == "accept":
            change |= {"accepted_by": name, "accepted_at_ms": now, "escalates_at_ms": None}
        elif body.action == "pause":
            change |= {"audio_paused_until_ms": now + body.pause_s * 1000}
        else:
            change |= {"resolved": True}
        self.alarms[alarm_id] = alarm.model_copy(update=change)
        self.tell(screen.AlarmMessage(alarm=self.alarms[alarm_id]))

    def refer(self, body: screen.ReferralBody) -> screen.Referral:
        lie = next(each for each in moment.LYING if moment.key(each) == body.bed_key)
        base = moment.referral(
            9, lie, "SUBMITTED", body.level_claim, now_ms(), within_s=120, ago_s=0, question=body.question
        )
        made = base.model_copy(
            update={
                **body.model_dump(exclude={"level_claim"}),
                "received_at_ms": None,
                "sync": "saved-here" if self.link == "lost" else "at-hub",
            }
        )
        self.referrals[body.referral_id] = made
        self.tell(screen.ReferralMessage(referral=made))
        return made


def build(face: str, link: str) -> tuple[FastAPI, Face]:
    """Return the application and its state."""
    app, state = FastAPI(), Face(face, link)
    app.state.face = state

    @app.middleware("http")
    async def policy(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @app.get("/api/v1/session")
    def session(request: Request) -> Response:
        role = request.cookies.get("yz_session")
        if not role:
            return refuse(401, "signed-out", "请先登录", "Sign in first")
        return JSONResponse(moment.me(role).model_dump())

    @app.get("/api/v1/sign-in-ways")
    def ways() -> screen.SignInWays:
        return screen.SignInWays(provider=None, passkeys=False, demo=False)

    @app.post("/api/v1/session")
    def sign_in(body: screen.SignIn) -> Response:
        if body.password == "wrong":
            return refuse(401, "wrong-sign-in", "账号或密码不对", "Account or password is not right")
        response = JSONResponse(moment.me(body.username).model_dump())
        response.set_cookie("yz_session", body.username, httponly=True, samesite="lax")
        return response

    @app.post("/api/v1/oidc/sign-out")
    def leave() -> Response:
        response = JSONResponse({"address": ""})
        response.delete_cookie("yz_session")
        return response

    @app.delete("/api/v1/session")
    def sign_out() -> Response:
        response = Response(status_code=204)
        response.delete_cookie("yz_session")
        return response

    @app.get("/api/v1/station")
    def station() -> dict[str, Any]:
        return {
            "site": "qingshi",
            "name": {"zh": "青石镇卫生院", "en": "Qingshi Clinic"},
            "link": link or "live",
            "hub_phone": "028-0000-1111",
        }

    @app.get("/api/v1/beds/{key}/trends")
    def trends(key: str, hours: int) -> screen.Trends:
        return moment.trends(key, hours, now_ms())

    @app.post("/api/v1/beds/{key}/observations")
    def observe(key: str, body: screen.ObservationBody) -> Response:
        state.posted.append((f"observations {key}", body.model_dump()))
        return Response(status_code=204)

    @app.get("/api/v1/studies")
    def studies() -> screen.StudyRows:
        return screen.StudyRows(studies=moment.studies(now_ms()), total=2, is_more=False)

    @app.get("/api/v1/persons/{person_id}/consents")
    def consents(person_id: str, request: Request) -> screen.Consents:
        return moment.consents(person_id, request.cookies["yz_session"])

    @app.post("/api/v1/alarms/{alarm_id}/actions")
    def act(alarm_id: str, body: screen.AlarmActionBody, request: Request) -> Response:
        if request.headers.get("x-csrf-token") != "t" * 32:
            return refuse(403, "csrf", "请求无效", "Request not valid")
        state.act(alarm_id, body, request.cookies["yz_session"])
        return Response(status_code=204)

    @app.post("/api/v1/referrals")
    def refer(body: screen.ReferralBody) -> screen.Referral:
        state.posted.append(("referral", body.model_dump()))
        return state.refer(body)

    @app.post("/api/v1/referrals/{referral_id}/moves")
    def move(referral_id: str, body: screen.ReferralActionBody) -> Response:
        state.posted.append(("move", body.model_dump()))
        old = state.referrals[referral_id]
        target = "ACCEPTED" if body.action == "triage-accept" else body.to_state
        step = screen.ReferralMove(
            state=target, at_ms=now_ms(), who=moment.me("physician").name, text=body.text, level=""
        )
        new = old.model_copy(
            update={"state": target, "level": old.level_claim, "moves": [*old.moves, step], "version": old.version + 1}
        )
        state.referrals[referral_id] = new
        state.tell(screen.ReferralMessage(referral=new))
        return Response(status_code=204)

    @app.post("/api/v1/consults")
    def consult(body: screen.ConsultBody) -> screen.Consult:
        made = screen.Consult(
            consult_id="consult-1",
            bed_key=body.bed_key,
            state="ringing",
            caller=moment.me("physician").name,
            started_at_ms=now_ms(),
            referral_id=body.referral_id,
        )
        state.tell(screen.ConsultMessage(consult=made))
        return made

    @app.post("/api/v1/consults/{consult_id}/end")
    def end(consult_id: str) -> Response:
        return Response(status_code=204)

    @app.websocket("/api/v1/live")
    async def live(socket: WebSocket) -> None:
        role = socket.cookies.get("yz_session")
        if not role:
            await socket.close()
            return
        await socket.accept()
        await serve(socket, state, role)

    app.mount("/", StaticFiles(directory=UI / face, html=True))
    return app, state


def refuse(status: int, code: str, zh: str, en: str) -> Response:
    problem = screen.Problem(title=en, status=status, detail=en, code=code, text=moment.text(zh, en))
    return JSONResponse(problem.model_dump(), status_code=status, media_type="application/problem+json")


async def serve(socket: WebSocket, state: Face, role: str) -> None:
    """Send the snapshot, then a second of life each second, until the page goes."""
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    state.sockets.add(queue)
    watched: set[str] = set()
    if not state.silent:
        await socket.send_json(state.snapshot(role).model_dump(mode="json"))

    async def receive() -> None:
        while True:
            message = await socket.receive_json()
            state.posted.append((message["type"], message))
            if message["type"] == "watch":
                watched.clear()
                watched.update(message["bed_keys"])

    async def beat() -> None:
        second = now_ms() // 1000
        while True:
            await asyncio.sleep(max(0.0, second + 1 - now_ms() / 1000))
            if not state.silent:
                for message in life(state, role, watched, second):
                    queue.put_nowait(message.model_dump(mode="json"))
            second += 1

    async def send() -> None:
        while True:
            await socket.send_json(await queue.get())

    tasks = [asyncio.ensure_future(job()) for job in (receive, beat, send)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        state.sockets.discard(queue)


def life(state: Face, role: str, watched: set[str], second: int) -> list[screen.View]:
    """What one second brings."""
    messages: list[screen.View] = [screen.Tick(server_time_ms=now_ms())]
    for bed in moment.snapshot(state.face, role, now_ms(), state.link).beds:
        lie = next(each for each in moment.LYING if moment.key(each) == bed.key)
        if lie.old_min:
            continue
        fresh = moment.readings(lie, now_ms(), second)[:3]
        messages.append(screen.ReadingsMessage(bed_key=bed.key, readings=fresh, news2=None, not_live=bed.not_live))
        if bed.key in watched:
            messages.append(screen.WaveMessage(bed_key=bed.key, channels=moment.waves(lie, second * 1000)))
    return messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--face", choices=("hub", "bedside"), default="hub")
    parser.add_argument("--port", type=int, default=8180)
    parser.add_argument("--link", choices=("", "live", "weak", "lost"), default="")
    arguments = parser.parse_args()
    uvicorn.run(build(arguments.face, arguments.link)[0], host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()

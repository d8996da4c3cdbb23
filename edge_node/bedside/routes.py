"""The bedside page's resources; the same shapes as the hub's (`telemed.screen`)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, status
from fastapi.responses import JSONResponse
from telemed import screen
from telemed.errors import Code
from telemed.measures import MEASURES
from telemed.roles import Right

from edge_node.bedside.accounts import Refused, Session
from edge_node.bedside.gate import AtStation, Changing, SignedIn, cookie_of, own_origin, require, require_changing
from edge_node.bedside.problems import Refusal
from edge_node.bedside.station import Station
from edge_node.errors import CareError, NotFound
from edge_node.samples.alarm import Ask
from edge_node.samples.measurement import Intake, NumericSet, Origin, Value

Watcher = Annotated[Session, Depends(require(Right.SEE_VITALS))]
Answerer = Annotated[Session, Depends(require_changing(Right.ACT_ON_ALARM))]
Observer = Annotated[Session, Depends(require_changing(Right.ENTER_VITALS))]
ReferralReader = Annotated[Session, Depends(require(Right.SEE_REFERRALS))]
Referrer = Annotated[Session, Depends(require_changing(Right.MAKE_REFERRAL))]
Mover = Annotated[Session, Depends(require_changing(Right.SEE_REFERRALS))]
"""Who may take which step is in the table of the life cycle."""

MS = 1_000_000
HOUR_S = 3600
POINTS_AIMED = 360
router = APIRouter(prefix="/api/v1")
SESSION_S = 12 * 3600


def manual_device(bed: str) -> str:
    """Code of the device under which entries typed in at a bed are stored."""
    return f"manual-{bed.lower().replace('_', '-')}"


@router.get("/station")
async def station_state(station: AtStation) -> dict[str, object]:
    """What anybody in front of this station may know: site, link, and beds with a high alarm."""
    return station.for_strangers()


@router.post("/session", dependencies=[Depends(own_origin)])
async def sign_in(body: screen.SignIn, request: Request, response: Response, station: AtStation) -> screen.Me:
    """Sign in with user name and password."""
    session = await station.accounts.sign_in(body.username, body.password)
    if isinstance(session, Refused):
        code = "try-later" if session.wait_s > 0 else session.code
        # Nobody is known until the hub says the accounts again: people must not doubt their passwords.
        if not station.accounts.roster().accounts and Code.STORE_LOCKED in dict(station.around.stuck()):
            code = Code.STORE_LOCKED
        await station.note_refusal(body.username, session)
        raise Refusal(code, "not signed in", retry_s=session.wait_s)
    await station.around.audit.note(session.who, "sign-in", f"account/{session.who.username}")
    response.set_cookie(
        cookie_of(request),
        session.token,
        max_age=SESSION_S,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return station.me(session)


@router.get("/session")
async def who_am_i(station: AtStation, session: SignedIn) -> screen.Me:
    """Who is signed in."""
    return station.me(session)


@router.delete("/session", status_code=status.HTTP_204_NO_CONTENT)
async def sign_out(request: Request, response: Response, station: AtStation, session: Changing) -> None:
    """End the session."""
    station.accounts.sign_out(session)
    await station.around.audit.note(session.who, "sign-out", f"account/{session.who.username}")
    response.delete_cookie(cookie_of(request), secure=request.url.scheme == "https", httponly=True, samesite="lax")


@router.get("/beds/{key}/trends")
async def trends(
    key: str, station: AtStation, session: Watcher, hours: Annotated[int, Query(ge=1, le=168)] = 6
) -> screen.Trends:
    """The course of the numeric measures of a bed; a gap is the absence of points."""
    bed = _bed(station, session, key)
    person = station.around.care.roster.occupant(bed)
    await station.note_views(session, "trend-read", [person.person_id] if person else [])
    to_ns = station.around.clock()
    # Of who lies there now, from when they came at the earliest.
    came_ns = station.around.care.roster.since_ns.get(bed, 0)
    from_ns = min(to_ns, max(came_ns, to_ns - hours * HOUR_S * 1_000_000_000))
    step_s = max(60, hours * HOUR_S // POINTS_AIMED // 60 * 60)
    devices = [row.device for row in station.around.config.devices if row.bed == bed]
    by_measure: dict[str, list[screen.TrendPoint]] = {}
    for row in await station.around.trends(devices, from_ns, to_ns, step_s):
        point = screen.TrendPoint(at_ms=row.at_ns // MS, low=row.low, high=row.high, last=row.last)
        by_measure.setdefault(row.measure, []).append(point)
    found = [
        screen.Trend(measure=name, unit=MEASURES[name].unit if name in MEASURES else "", step_s=step_s, points=points)
        for name, points in by_measure.items()
    ]
    gaps = [(begin_ns // MS, end_ns // MS) for begin_ns, end_ns in await station.around.link_gaps(from_ns, to_ns)]
    return screen.Trends(bed_key=key, from_ms=from_ns // MS, to_ms=to_ns // MS, trends=found, link_gaps_ms=gaps)


@router.post("/alarms/{alarm_id}/actions")
async def act_on_alarm(
    alarm_id: str, body: screen.AlarmActionBody, station: AtStation, session: Answerer
) -> screen.Alarm:
    """Accept, pause, resolve or reset an alarm in the name of who is signed in."""
    if not station.sees_alarm(session, alarm_id):
        raise NotFound("no such alarm")
    ask = Ask(body.action, body.text, body.useful, body.pause_s)
    action, target = f"alarm-{body.action}", f"alarm/{alarm_id}"
    try:
        alarm = await station.around.ward.act(alarm_id, ask, session.who)
    except CareError as refusal:
        await station.around.audit.note(session.who, action, target, refusal.code)
        raise
    await station.around.audit.note(session.who, action, target)
    return station.alarm_view(alarm, staff=not session.is_caregiver)


@router.post("/beds/{key}/observations", status_code=status.HTTP_201_CREATED)
async def observe(
    key: str, body: screen.ObservationBody, station: AtStation, session: Observer
) -> list[screen.Reading]:
    """Store what a monitor never sends: consciousness and oxygen (decision 24)."""
    bed = _bed(station, session, key)
    typed = {"acvpu": body.acvpu, "oxygen": body.oxygen}
    values = [Value(name, text, MEASURES[name].unit, status="F") for name, text in typed.items() if text]
    if body.o2_flow_l_min is not None:
        values.append(Value("o2_flow", f"{body.o2_flow_l_min:g}", MEASURES["o2_flow"].unit, status="F"))
    if not values:
        raise Refusal("bad-input", "nothing was entered", fields=["acvpu", "oxygen", "o2_flow_l_min"])
    now_ns = station.around.clock()
    sample = NumericSet(
        manual_device(bed), now_ns, now_ns, tuple(values), Origin.MANUAL, source_ref=f"by:{session.who.username}"
    )
    await station.around.deliver(Intake(sets=(sample,)))
    person = station.around.care.roster.occupant(bed)
    target = f"Patient/{person.person_id}" if person else f"bed/{station.site}/{bed}"
    await station.around.audit.note(session.who, "observation-entered", target)
    return station.readings_of(bed, [value.measure for value in values])


@router.get("/referrals")
async def referrals(
    station: AtStation, session: ReferralReader, limit: Annotated[int, Query(ge=1, le=500)] = 200
) -> dict[str, list[screen.Referral]]:
    """All referrals of this site, newest first."""
    await station.note_views(session, "referral-read", station.referred())
    return {"referrals": station.referrals.views(session.who.role)[:limit]}


@router.post("/referrals", response_model=screen.Referral)
async def refer(body: screen.ReferralBody, station: AtStation, session: Referrer) -> JSONResponse:
    """Write a referral, with or without the hub; sending it twice makes one."""
    referral_id, is_new = await station.referrals.submit(body, session.who)
    await station.around.audit.note(session.who, "referral-submit", f"referral/{referral_id}")
    view = station.referrals.view_of(referral_id, session.who.role)
    return JSONResponse(view.model_dump(), status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


@router.post("/referrals/{referral_id}/moves")
async def move_referral(
    referral_id: str, body: screen.ReferralActionBody, station: AtStation, session: Mover
) -> screen.Referral:
    """Take the next step of a referral."""
    await station.referrals.move(referral_id, body, session.who)
    await station.around.audit.note(session.who, f"referral-{body.action}", f"referral/{referral_id}")
    return station.referrals.view_of(referral_id, session.who.role)


def _bed(station: Station, session: Session, key: str) -> str:
    bed = station.bed_code(session, key)
    if bed is None:
        raise NotFound("no such bed")
    return bed

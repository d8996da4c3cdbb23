"""One moment of a region as the screens' shapes: live, stale, lost, alarming, replayed and empty beds."""

import math
import random
from dataclasses import dataclass

from telemed import consent, consent_views
from telemed.consent import Purpose, Step
from telemed.radio import SIM_REASONS, STATES, TECHNOLOGIES
from telemed.screen import (
    Alarm,
    AlarmStep,
    Bed,
    BedSync,
    Consents,
    GivenUp,
    Me,
    News2,
    News2Part,
    Patient,
    RadioView,
    Reading,
    ReconcileView,
    Referral,
    ReferralMove,
    Site,
    Snapshot,
    StuckView,
    StudyRow,
    Text2,
    Trend,
    TrendPoint,
    Trends,
    WaitingView,
    WaveChannel,
)
from telemed.v1 import event_pb2

_MINUTE_MS = 60_000
_RATE_HZ = 125
_GAIN = 400.0


@dataclass(frozen=True, slots=True)
class Lie:
    """Who lies where, and how the person is."""

    site: str
    bed: str
    name: str
    name_en: str
    gender: str
    age: int
    hr: int
    spo2: int
    systolic: int
    diastolic: int
    rr: int
    temp: str
    score: tuple[int | None, ...]
    not_live: str = ""
    old_min: int = 0


LYING = (
    Lie("qingshi", "01", "谷雨生", "Gu Yusheng", "male", 72, 118, 82, 142, 88, 24, "39.2", (2, 3, 0, 0, 2, 0, 2)),
    Lie("qingshi", "02", "白露珍", "Bai Luzhen", "female", 78, 96, 95, 108, 64, 18, "36.9", (0, 1, 0, 1, 1, 0, 0)),
    Lie("qingshi", "03", "小满仓", "Xiao Mancang", "male", 66, 101, 97, 136, 82, 17, "36.6", (0, 0, 0, 0, 1, 0, 0)),
    Lie("qingshi", "04", "寒露平", "Han Luping", "male", 81, 84, 94, 124, 70, 11, "36.4", (1, 1, None, 0, 0, None, 0)),
    Lie("yunling", "07", "立春花", "Li Chunhua", "female", 84, 134, 96, 128, 76, 22, "38.4", (2, 0, 0, 0, 3, 0, 1)),
    Lie("yunling", "08", "处暑凉", "Chu Shuliang", "male", 79, 64, 97, 131, 79, 15, "36.5", (0, 0, 0, 0, 0, 0, 0)),
    Lie("yunling", "09", "芒种田", "Mang Zhongtian", "male", 70, 93, 96, 139, 85, 16, "38.2", (0, 0, 0, 0, 1, 0, 1)),
    Lie(
        "heming",
        "家1",
        "秋分兰",
        "Qiu Fenlan",
        "female",
        76,
        92,
        97,
        133,
        81,
        16,
        "36.7",
        (0, 0, 0, 0, 1, 0, 0),
        old_min=8,
    ),
    Lie(
        "heming",
        "家2",
        "霜降林",
        "Shuang Jianglin",
        "male",
        69,
        94,
        93,
        126,
        74,
        18,
        "36.8",
        (0, 2, None, 0, 1, 0, 0),
        old_min=8,
    ),
    Lie(
        "heming",
        "演示",
        "记录 A",
        "Record A",
        "male",
        58,
        98,
        96,
        129,
        80,
        17,
        "36.9",
        (0, 0, 0, 0, 1, 0, 0),
        not_live="replay",
    ),
)
SITE_NAMES = {
    "qingshi": ("青石镇卫生院", "Qingshi Clinic"),
    "yunling": ("云岭养老院", "Yunling Care Home"),
    "heming": ("鹤鸣村家庭病房", "Heming Home Ward"),
}
_LINKS = {"qingshi": "live", "yunling": "weak", "heming": "lost"}
_PARTS = ("rr", "spo2", "oxygen", "sbp", "pulse", "acvpu", "temp")


def text(zh: str, en: str) -> Text2:
    return Text2(zh=zh, en=en)


def _reading(lie: Lie, measure: str, value: str | None, unit: str, now: int, old_s: int, stale_s: int = 300) -> Reading:
    limits = {"hr": ("50", "120"), "spo2": ("92", None), "rr": ("10", "24"), "nibp_sys": ("100", "180")}
    low, high = limits.get(measure, (None, None))
    at = now - old_s * 1000 - lie.old_min * _MINUTE_MS
    return Reading(
        measure=measure,
        value=value,
        unit=unit,
        measured_at_ms=at,
        arrived_at_ms=now if lie.not_live else at,
        quality="valid" if value is not None else "missing",
        origin="replay" if lie.not_live else "live",
        stale_after_s=stale_s,
        limit_low=low,
        limit_high=high,
    )


def readings(lie: Lie, now: int, seed: int) -> list[Reading]:
    jitter = random.Random(f"{lie.bed}{seed}").randint(-1, 1)
    monitor = [
        _reading(lie, "hr", str(lie.hr + jitter), "/min", now, 1),
        _reading(lie, "spo2", str(lie.spo2), "%", now, 1),
        _reading(lie, "rr", str(lie.rr), "/min", now, 1),
    ]
    slow = [
        _reading(lie, "nibp_sys", str(lie.systolic), "mm[Hg]", now, 360, 3600),
        _reading(lie, "nibp_dia", str(lie.diastolic), "mm[Hg]", now, 360, 3600),
        _reading(lie, "nibp_map", str((lie.systolic + 2 * lie.diastolic) // 3), "mm[Hg]", now, 360, 3600),
        _reading(lie, "temp", lie.temp, "Cel", now, 2460, 14400),
    ]
    return (
        monitor + slow
        if lie.bed != "04"
        else [_reading(lie, "pr_oxim", str(lie.hr), "/min", now, 1), *monitor[1:], *slow]
    )


def news2(lie: Lie, now: int) -> News2:
    values = (str(lie.rr), str(lie.spo2), "air", str(lie.systolic), str(lie.hr), "A", lie.temp)
    parts = [
        News2Part(part=part, value=None if points is None else value, measured_at_ms=now - 2000, points=points)
        for part, value, points in zip(_PARTS, values, lie.score, strict=True)
    ]
    total = sum(points or 0 for points in lie.score)
    risk = "high" if total >= 7 else "medium" if total >= 5 else "low-medium" if 3 in lie.score else "low"
    complete = None not in lie.score
    return News2(
        total=total,
        complete=complete,
        single_three=3 in lie.score,
        risk=risk if complete else "unknown",
        scale=1,
        parts=parts,
        at_ms=now,
    )


def patient(lie: Lie) -> Patient:
    return Patient(
        person_id=f"person-{lie.bed}",
        name=lie.name,
        name_en=lie.name_en,
        gender=lie.gender,
        age_years=lie.age,
        birth_date="1954-03-02",
        identifiers=[f"5101820000{lie.bed}"],
        allergies="青霉素" if lie.bed == "01" else "",
        note="脑梗死后 14 月" if lie.bed == "01" else "",
        calls="妈妈" if lie.bed == "家1" else "",
    )


def key(lie: Lie) -> str:
    return f"{lie.site}:{lie.bed}"


def bed(lie: Lie, now: int) -> Bed:
    return Bed(
        key=key(lie),
        site=lie.site,
        bed=lie.bed,
        label=lie.bed,
        patient=patient(lie),
        devices=["monitor-1"],
        has_camera=lie.bed == "01",
        readings=readings(lie, now, 0),
        news2=news2(lie, now),
        waves=["ecg_II", "ppg", "resp"] if lie.bed != "04" else ["ppg", "resp"],
        not_live=lie.not_live,
        unassigned=2 if lie.bed == "08" else 0,
    )


def site(code: str, now: int, link: str = "") -> Site:
    link = link or _LINKS[code]
    lost = link == "lost"
    zh, en = SITE_NAMES[code]
    keys = [key(lie) for lie in LYING if lie.site == code] + (["yunling:10"] if code == "yunling" else [])
    return Site(
        site=code,
        name=text(zh, en),
        region="baoshan",
        beds=keys,
        link=link,
        link_since_ms=now - 133_000,
        caught_up_to_ms=now - (480_000 if lost else 1800),
        waiting=WaitingView(alarm=2, vitals=38, waves=1) if lost else WaitingView(waves=6 if link == "weak" else 0),
        stuck=[StuckView(code="unbound", text=text("监护仪 3 未认病人", "Monitor 3 has no patient"))]
        if link == "weak"
        else [],
        buffer_hours=71.4,
        last_arrival_ms=now - (133_000 if lost else 800),
        delay_ms=None if lost else 800,
        phone="028-0000-1111",
        radios=[] if link == "never" else [radio(now - (133_000 if lost else 2_000), weak=link != "live")],
        bed_sync=[bed_sync(one, now, link) for one in keys],
        reconciled=None if link == "never" else compared(now - 43_200_000, healed=12 if link == "weak" else 0),
    )


def bed_sync(bed_key: str, now: int, link: str) -> BedSync:
    waits = link == "lost" or bed_key.endswith(":02")
    as_of = now - (133_000 if link == "lost" else 1_000)
    return BedSync(
        bed_key=bed_key,
        caught_up_to_ms=as_of - (180_000 if waits else 0),
        waiting=WaitingView(vitals=180 if waits else 0),
        stuck=[],
        as_of_ms=as_of,
    )


def compared(at_ms: int, *, healed: int) -> ReconcileView:
    return ReconcileView(
        at_ms=at_ms, broken=False, compared=1_036_800, healed=healed, open=0, lost=0, conflicts=0, damaged=0
    )


def radio(seen_ms: int, *, weak: bool) -> RadioView:
    return RadioView(
        path="cellular",
        state="searching" if weak else "connected",
        state_text=STATES["searching" if weak else "connected"],
        technology=TECHNOLOGIES["lte" if weak else "5gnr-sa"],
        bars=1 if weak else 3,
        rsrp_dbm=-117 if weak else -84,
        operator="中国移动",
        roaming=False,
        sim_slot=2 if weak else 1,
        sim_text=SIM_REASONS["no-service" if weak else "start"],
        seen_ms=seen_ms,
    )


def alarm(number: int, lie: Lie, kind: tuple[str, str], words: Text2, now: int, ago_s: int, who: Text2 | None) -> Alarm:
    priority, measure = kind
    onset = now - ago_s * 1000
    steps = [
        AlarmStep(phase="start", at_ms=onset, who=None, note=""),
        AlarmStep(phase="delivered", at_ms=onset + 900, who=None, note=""),
    ]
    steps.append(AlarmStep(phase="seen", at_ms=onset + 20_000, who=text("黄芪", "Huang Qi"), note=""))
    if who:
        steps.append(AlarmStep(phase="accepted", at_ms=onset + 60_000, who=who, note=""))
    return Alarm(
        alarm_id=f"alarm-{number}",
        bed_key=key(lie),
        site=lie.site,
        priority=priority,
        condition=f"{measure}-limit",
        technical=priority == "low",
        measure=measure,
        value="82",
        unit="%",
        limit="92",
        text=words,
        onset_ms=onset,
        active=True,
        latched=False,
        accepted_by=who,
        accepted_at_ms=onset + 60_000 if who else None,
        seen_by=text("黄芪", "Huang Qi"),
        audio_paused_until_ms=None,
        resolved=False,
        late=False,
        steps=steps,
        escalates_at_ms=None if who else onset + 180_000,
        ruleset="adult-default 2026-11-20",
    )


def alarms(now: int) -> list[Alarm]:
    return [
        alarm(1, LYING[0], ("high", "spo2"), text("血氧 82 低于 92", "SpO₂ 82 below 92"), now, 52, None),
        alarm(
            2,
            LYING[4],
            ("medium", "hr"),
            text("心率 134 高于 120", "Heart rate 134 above 120"),
            now,
            125,
            text("苏叶", "Su Ye"),
        ),
        alarm(3, LYING[3], ("low", "ecg"), text("心电导联脱落", "ECG lead off"), now, 190, None),
    ]


def referral(
    number: int, lie: Lie, state: str, level: str, now: int, *, within_s: int, ago_s: int, question: str
) -> Referral:
    authored = now - ago_s * 1000
    doctor, physician = text("黄芪 医生", "Dr Huang"), text("杜仲 医师", "Dr Du")
    moves = [ReferralMove(state="SUBMITTED", at_ms=authored, who=doctor, text="", level="")]
    if state != "SUBMITTED":
        moves.append(ReferralMove(state="TRIAGED", at_ms=authored + 60_000, who=physician, text="", level=level))
        moves.append(ReferralMove(state=state, at_ms=authored + 62_000, who=physician, text="请补 CT 片", level=level))
    allowed = {"SUBMITTED": ["TRIAGED", "CANCELLED"], "ACCEPTED": ["MORE_INFO", "SCHEDULED", "IN_CONSULT", "CANCELLED"]}
    return Referral(
        referral_id=f"0193a000-0000-7000-8000-00000000000{number}",
        site=lie.site,
        bed_key=key(lie),
        patient=patient(lie),
        state=state,
        level="" if state == "SUBMITTED" else level,
        level_claim=level,
        version=len(moves),
        authored_at_ms=authored,
        received_at_ms=authored + (780_000 if number == 3 else 1200),
        last_known_well_ms=now - 4_320_000 if level == "T0" else None,
        last_known_well_code="known" if level == "T0" else "unknown",
        main_signs=["weakness", "speech"] if level == "T0" else ["seizure"],
        anticoagulant="yes" if level == "T0" else "unknown",
        callback="028-0000-0000",
        question=question,
        readings=readings(lie, now, 0),
        news2_total=2,
        news2_complete=True,
        offline=number == 3,
        deadline_ms=authored + within_s * 1000,
        escalates_at_ms=authored + within_s * 600,
        owner="" if state == "SUBMITTED" else "杜仲 医师",
        moves=moves,
        allowed=allowed.get(state, ["SUBMITTED", "CANCELLED"]),
        sync="at-hub",
    )


def referrals(now: int) -> list[Referral]:
    return [
        referral(1, LYING[2], "SUBMITTED", "T0", now, within_s=120, ago_s=42, question="能否溶栓"),
        referral(2, LYING[4], "ACCEPTED", "T1", now, within_s=3600, ago_s=2300, question="24 小时内发作 3 次，已清醒"),
        referral(3, LYING[5], "MORE_INFO", "T3", now, within_s=86400, ago_s=10_800, question="头晕 1 月，问是否停抗凝"),
        referral(
            4, LYING[1], "SUBMITTED", "T2", now, within_s=7200, ago_s=3000, question="3 天前左手无力 20 分钟自行缓解"
        ),
    ]


def me(role: str) -> Me:
    names = {
        "physician": ("杜仲 医师", "Dr Du"),
        "clinic": ("黄芪 医生", "Dr Huang"),
        "caregiver": ("谷小禾", "Gu Xiaohe"),
    }
    zh, en = names.get(role, ("决明", "Jue Ming"))
    return Me(username=role, role=role, name=text(zh, en), sites=[], csrf_token="t" * 32)


def snapshot(face: str, role: str, now: int, link: str = "") -> Snapshot:
    sites = [site(code, now) for code in SITE_NAMES]
    lying = list(LYING)
    if face == "bedside":
        here = site("qingshi", now, link).model_copy(update={"bed_sync": []})
        sites, lying = [here], [lie for lie in LYING if lie.site == "qingshi"]
    if role == "caregiver":
        sites, lying = [site("qingshi", now)], [LYING[1]]
    beds = [bed(lie, now) for lie in lying]
    keys = {each.key for each in beds}
    shown = [] if role == "operator" else beds
    return Snapshot(
        face=face,
        server_time_ms=now,
        demo=True,
        me=me(role),
        sites=sites,
        beds=shown,
        alarms=[each for each in alarms(now) if each.bed_key in keys],
        referrals=[]
        if role in {"caregiver", "operator"}
        else [each for each in referrals(now) if each.bed_key in keys],
        consults=[],
    )


def _ecg(phase: float) -> float:
    waves = ((0.18, 0.025, 0.12), (0.285, 0.008, -0.12), (0.3, 0.01, 1.1), (0.318, 0.01, -0.25), (0.52, 0.045, 0.28))
    return sum(height * math.exp(-(((phase - at) / width) ** 2)) for at, width, height in waves)


def _ppg(phase: float) -> float:
    return math.exp(-(((phase - 0.3) / 0.12) ** 2)) + 0.35 * math.exp(-(((phase - 0.58) / 0.14) ** 2))


def waves(lie: Lie, start_ms: int) -> list[WaveChannel]:
    """One second of each wave of a bed, from `start_ms`."""
    times = [start_ms / 1000 + index / _RATE_HZ for index in range(_RATE_HZ)]
    beat_hz = lie.hr / 60
    shapes = {
        "ecg_II": [_ecg((at * beat_hz) % 1) for at in times],
        "ppg": [_ppg((at * beat_hz + 0.8) % 1) for at in times],
        "resp": [math.sin(2 * math.pi * at * lie.rr / 60) for at in times],
    }
    shown = {name: values for name, values in shapes.items() if name != "ecg_II" or lie.bed != "04"}
    return [
        WaveChannel(
            measure=name,
            label=name,
            rate_hz=_RATE_HZ,
            start_ms=start_ms,
            gain=_GAIN,
            baseline=0,
            unit="mV",
            digits=[round(value * _GAIN) for value in values],
        )
        for name, values in shown.items()
    ]


def trends(bed_key: str, hours: int, now: int) -> Trends:
    lie = next(each for each in LYING if key(each) == bed_key)
    step_s = max(60, hours * 3600 // 360)
    first = now - hours * 3_600_000
    gap = (first + hours * 1_800_000, first + hours * 1_980_000)
    lost = GivenUp(from_ms=first + hours * 300_000, to_ms=first + hours * 450_000, has_minutes=True)
    found = []
    for measure, middle, unit, every in (
        ("hr", lie.hr, "/min", 1),
        ("spo2", lie.spo2 + 8, "%", 1),
        ("nibp_sys", lie.systolic, "mm[Hg]", 18),
        ("nibp_dia", lie.diastolic, "mm[Hg]", 18),
        ("rr", lie.rr, "/min", 1),
    ):
        points = []
        for index in range(0, 360, every):
            at = first + index * step_s * 1000
            if gap[0] <= at <= gap[1]:
                continue
            value = middle + 3 * math.sin(index / 17) - (8 if measure == "spo2" and index > 355 else 0)
            points.append(TrendPoint(at_ms=at, low=value - 1, high=value + 1, last=round(value, 1)))
        found.append(Trend(measure=measure, unit=unit, step_s=step_s * every, points=points))
    return Trends(bed_key=bed_key, from_ms=first, to_ms=now, trends=found, link_gaps_ms=[gap], given_up=[lost])


def studies(now: int) -> list[StudyRow]:
    """A head CT that is still on its way, and an old film that somebody has read."""
    head = StudyRow(
        study_key="0" * 64,
        study_uid="1.2.3",
        site="qingshi",
        person_id="p-1",
        name=text("谷雨生", "Gu Yusheng"),
        study_date="20261126",
        study_time="1538",
        modalities=["CT"],
        description="头部 CT 平扫",
        series=2,
        images=116,
        state="partly",
        arrived=116,
        expected=160,
        changed_ms=now,
        is_unread=True,
        is_fetched=False,
        read_by=None,
        read_ms=None,
        has_key_image=False,
    )
    film = {"study_key": "1" * 64, "study_uid": "1.2.4", "modalities": ["DX"], "description": "胸片", "images": 1}
    read = {"is_unread": False, "read_by": text("杜仲 医师", "Dr Du"), "read_ms": now - _MINUTE_MS}
    whole = {"state": "whole", "arrived": 1, "expected": 1, "study_date": "20241126", "series": 1}
    return [head, head.model_copy(update=film | read | whole)]


def consents(person_id: str, role: str) -> Consents:
    """A person who agreed to being cared for and to a daughter's access, and said no to research."""
    doctor = event_pb2.Actor(username="clinic", role="clinic", name_zh="黄芪 医生", name_en="Dr Huang Qi")

    def given(purpose: str, grantee: str = "") -> Step:
        body = event_pb2.ConsentGiven(purpose=purpose, grantee=grantee, giver="self", method="signature")
        return Step(event_pb2.Event(at_unix_ns=1_795_000_000 * 10**9, actor=doctor, consent_given=body), 1)

    gone = event_pb2.Event(at_unix_ns=1_795_500_000 * 10**9, consent_withdrawn=event_pb2.ConsentWithdrawn())
    steps = {
        Purpose.CARE: [given("C1")],
        Purpose.SHARING: [given("C2")],
        Purpose.FAMILY: [given("C5", "caregiver")],
        Purpose.RESEARCH: [Step(gone, 2)],
    }
    standings = {purpose: consent.fold(found) for purpose, found in steps.items()}
    family = {"caregiver": text("秋小禾", "Qiu Xiaohe")}
    return consent_views.consents(person_id, standings, family, role, 1_796_000_000 * 10**9)

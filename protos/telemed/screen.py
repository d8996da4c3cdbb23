"""What the one UI source is told, by the hub and by the bedside page alike (decision 8).

Both serve the same shapes: `GET /api/v1/session`, the WebSocket `/api/v1/live`, and the resources below.
The WebSocket sends JSON objects with a `type`; times are milliseconds since the Unix epoch on the server's
clock, and `server_time_ms` lets a page measure its own offset.  A key of a bed is `<site>:<bed>`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class View(BaseModel):
    """A part of what a screen shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text2(View):
    """A text in both languages."""

    zh: str
    en: str


class Me(View):
    """Who is signed in, and what the page may offer."""

    username: str
    role: str
    name: Text2
    sites: list[str] = Field(description="Sites this person may see; all of the region for a physician.")
    csrf_token: str = Field(description="To be sent as X-CSRF-Token with every request that changes something.")
    must_change: bool = Field(default=False, description="Nothing is open until the first password has been changed.")
    must_enrol: bool = Field(default=False, description="Nothing is open until a second factor has been set up.")


class Reading(View):
    """The newest value of one measure at one bed."""

    measure: str
    value: str | None = Field(description="Decimal text or code; null where there is none, and then `reason` says why.")
    unit: str
    measured_at_ms: int
    arrived_at_ms: int
    quality: Literal["valid", "questionable", "implausible", "missing", "retracted"]
    origin: Literal["live", "test", "replay", "manual"]
    stale_after_s: int
    clock_suspect: bool = False
    limit_low: str | None = None
    limit_high: str | None = None


class News2Part(View):
    """One of the seven parts of NEWS2."""

    part: Literal["rr", "spo2", "oxygen", "sbp", "pulse", "acvpu", "temp"]
    value: str | None
    measured_at_ms: int | None
    points: int | None = Field(description="0 to 3; null where the value is missing or stale, never 0 then.")


class News2(View):
    """The early warning score of one bed (clinical 2.1)."""

    total: int
    complete: bool = Field(description="False: the total is a lower bound, shown as `≥ n`.")
    single_three: bool
    risk: Literal["low", "low-medium", "medium", "high", "unknown"]
    scale: Literal[1, 2]
    parts: list[News2Part]
    refused: str | None = Field(default=None, description="Why the score does not apply: under-16, pregnancy.")
    at_ms: int


class Patient(View):
    """Who lies in a bed."""

    person_id: str
    name: str
    name_en: str
    gender: str
    age_years: int | None
    birth_date: str
    identifiers: list[str]
    allergies: str
    note: str
    calls: str = Field(default="", description="What the caregiver calls this person.")


class Bed(View):
    """A bed or spot; its place on the wall never changes."""

    key: str
    site: str
    bed: str
    label: str
    patient: Patient | None
    devices: list[str]
    has_camera: bool
    readings: list[Reading]
    news2: News2 | None
    waves: list[str] = Field(description="Wave measures seen in the last minute.")
    not_live: Literal["", "replay", "test"] = ""
    unassigned: int = Field(default=0, description="Sets held back because the device named somebody else.")


class AlarmStep(View):
    """One step of the alarm's conversation: delivered, seen, accepted, ..."""

    phase: str
    at_ms: int
    who: Text2 | None
    note: str


class Alarm(View):
    """One alarm: a condition at a bed, with its conversation."""

    alarm_id: str
    bed_key: str
    site: str
    priority: Literal["low", "medium", "high"]
    condition: str
    technical: bool
    measure: str
    value: str
    unit: str
    limit: str
    text: Text2
    onset_ms: int
    active: bool = Field(description="The condition stands.")
    latched: bool = Field(description="The condition is over and waits for a human's reset.")
    accepted_by: Text2 | None
    accepted_at_ms: int | None
    seen_by: Text2 | None
    audio_paused_until_ms: int | None
    resolved: bool
    late: bool
    bedside_knows: bool = Field(default=True, description="False: accepted at the hub, not confirmed by the edge.")
    steps: list[AlarmStep]
    escalates_at_ms: int | None
    ruleset: str


class WaitingView(View):
    """What waits at an edge, by class of traffic."""

    alarm: int = 0
    care: int = 0
    vitals: int = 0
    waves: int = 0


class StuckView(View):
    """Something that does not move, and why."""

    code: str
    text: Text2


class RadioView(View):
    """A mobile link of a site, as its modem sees it."""

    path: str
    state: str
    state_text: Text2
    technology: Text2 | None
    bars: int | None = Field(description="0 to 4, as a phone shows them.")
    rsrp_dbm: int | None
    operator: str
    roaming: bool
    sim_slot: int | None
    sim_text: Text2 | None = Field(description="Why this SIM, where the node chooses.")
    seen_ms: int = Field(description="When the modem last told anything.")


class ReconcileView(View):
    """What the last comparison of what a site holds with what the hub stores found, in records."""

    at_ms: int = Field(description="When it ended; of several nodes the oldest.")
    broken: bool = Field(description="It did not come to its end.")
    compared: int
    healed: int = Field(description="Were missing at the hub and are stored again.")
    open: int = Field(description="Asked for again and not back.")
    lost: int = Field(description="Missing on both sides.")
    conflicts: int
    damaged: int = Field(description="Damaged in the site's own store.")


class BedSync(View):
    """How far the hub has what was measured at one bed; true as of `as_of_ms`, by the hub's clock."""

    bed_key: str
    caught_up_to_ms: int | None = Field(description="None: the node does not tell.")
    waiting: WaitingView
    stuck: list[StuckView]
    as_of_ms: int = Field(description="When the node last told; what it did since is not known.")


class Site(View):
    """A site's link and sync state."""

    site: str
    name: Text2
    region: str
    beds: list[str]
    link: Literal["live", "weak", "lost", "never"]
    link_since_ms: int
    caught_up_to_ms: int | None
    waiting: WaitingView
    stuck: list[StuckView]
    buffer_hours: float | None
    last_arrival_ms: int | None
    delay_ms: int | None
    phone: str = ""
    radios: list[RadioView] = []
    reconciled: ReconcileView | None = None
    bed_sync: list[BedSync] = []


class ReferralMove(View):
    """One step of a referral."""

    state: str
    at_ms: int
    who: Text2
    text: str
    level: str
    refused: str = ""
    pending: bool = Field(default=False, description="Made here, not yet ordered by the hub.")


class Referral(View):
    """A referral, with its clocks."""

    referral_id: str
    site: str
    bed_key: str
    patient: Patient | None
    state: str
    level: str
    level_claim: str
    version: int
    authored_at_ms: int
    received_at_ms: int | None
    last_known_well_ms: int | None
    last_known_well_code: str
    main_signs: list[str]
    anticoagulant: str
    callback: str
    question: str
    readings: list[Reading]
    news2_total: int | None
    news2_complete: bool
    offline: bool
    deadline_ms: int | None = Field(description="When the present state must have been left.")
    escalates_at_ms: int | None
    owner: str
    moves: list[ReferralMove]
    allowed: list[str]
    sync: Literal["saved-here", "at-hub"]


class Consult(View):
    """A consult as both sides see it."""

    consult_id: str
    bed_key: str
    state: Literal["ringing", "active", "ended", "declined"]
    caller: Text2
    started_at_ms: int
    referral_id: str = ""


class SignalView(View):
    """A step of consult signalling between a page and its peers."""

    consult_id: str
    from_peer: Literal["hub", "camera", "bedside"]
    to_peer: Literal["hub", "camera", "bedside"]
    kind: Literal["invite", "ring", "accept", "decline", "offer", "answer", "candidate", "bye", "state"]
    body: str = Field(default="", max_length=65536)
    bed_key: str = ""
    caller: Text2 | None = None


class Snapshot(View):
    """First message on the live socket, and again whenever the page asks for it."""

    type: Literal["snapshot"] = "snapshot"
    face: Literal["hub", "bedside"]
    server_time_ms: int
    demo: bool
    takes_images: bool = Field(default=False, description="Whether this node receives images; never at the hub.")
    me: Me
    sites: list[Site]
    beds: list[Bed]
    alarms: list[Alarm]
    referrals: list[Referral]
    consults: list[Consult]


class BedMessage(View):
    """A bed changed: another person, another device, new readings or score."""

    type: Literal["bed"] = "bed"
    bed: Bed


class ReadingsMessage(View):
    """New readings of one bed; others stay as they are."""

    type: Literal["readings"] = "readings"
    bed_key: str
    readings: list[Reading]
    news2: News2 | None
    not_live: Literal["", "replay", "test"] = ""


class WaveChannel(View):
    """A stretch of one wave on the device's own clock."""

    measure: str
    label: str
    rate_hz: float
    start_ms: float
    gain: float
    baseline: float
    unit: str
    digits: list[int | None] = Field(description="physical = (digit - baseline) / gain; null = no sample.")


class WaveMessage(View):
    """Waves of one bed, sent only to pages that asked to watch it."""

    type: Literal["wave"] = "wave"
    bed_key: str
    channels: list[WaveChannel]


class AlarmMessage(View):
    """An alarm began or moved on."""

    type: Literal["alarm"] = "alarm"
    alarm: Alarm


class SiteMessage(View):
    """A site's link or sync state, about once a second."""

    type: Literal["site"] = "site"
    site: Site


class ReferralMessage(View):
    """A referral began or moved on."""

    type: Literal["referral"] = "referral"
    referral: Referral


class ConsultMessage(View):
    """A consult began or moved on."""

    type: Literal["consult"] = "consult"
    consult: Consult


class SignalMessage(View):
    """A step of consult signalling, to this page; pages send the same."""

    type: Literal["signal"] = "signal"
    signal: SignalView


class Tick(View):
    """Sent every 2 s, so that a page knows that its feed lives."""

    type: Literal["tick"] = "tick"
    server_time_ms: int


class Watch(View):
    """From a page: send the waves of these beds from now on."""

    type: Literal["watch"] = "watch"
    bed_keys: list[str] = Field(max_length=64)


class Seen(View):
    """From a page: these alarms were on an active screen for two seconds."""

    type: Literal["seen"] = "seen"
    alarm_ids: list[str] = Field(max_length=64)


ServerMessage = Annotated[
    Snapshot
    | BedMessage
    | ReadingsMessage
    | WaveMessage
    | AlarmMessage
    | SiteMessage
    | ReferralMessage
    | ConsultMessage
    | SignalMessage
    | Tick,
    Field(discriminator="type"),
]
PageMessage = Annotated[Watch | Seen | SignalMessage, Field(discriminator="type")]


class SignIn(View):
    """Body of `POST /api/v1/session`."""

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)
    code: str = Field(default="", max_length=64, description="Of the second factor, or a recovery code.")


class SignInWays(View):
    """Answer of `GET /api/v1/sign-in-ways`: what the sign-in page offers beside name and password."""

    provider: Text2 | None = Field(description="Name of the identity provider; null where there is none.")
    passkeys: bool = Field(description="Whether passkeys and security keys may be used on this page.")
    demo: bool = Field(description="Whether every page carries the mark Demo.")


class ProviderBegun(View):
    """Answer of `POST /api/v1/oidc/begin`."""

    address: str = Field(description="Where the browser goes to sign in with the provider.")


class ProviderProofBody(View):
    """Body of `POST /api/v1/oidc/second-factor`."""

    code: str = Field(min_length=1, max_length=64)


class ProviderLeft(View):
    """Answer of `POST /api/v1/oidc/sign-out`."""

    address: str = Field(description="Where the browser goes to sign out there too; empty for nowhere.")


class Passkey(View):
    """A passkey or security key of one's own."""

    key_id: str
    name: str
    made_ms: int
    used_ms: int | None = Field(description="null while it was never used to sign in.")


class Passkeys(View):
    """Answer of `GET /api/v1/passkeys`."""

    offered: bool = Field(description="Whether the hub knows passkeys at all.")
    passkeys: list[Passkey]


class PasskeyAsked(View):
    """What the browser hands to a key: the options of WebAuthn as JSON text."""

    options: str


class PasskeyBody(View):
    """Body of `POST /api/v1/passkeys`: a new key's answer as JSON text, and what to call it."""

    name: str = Field(min_length=1, max_length=80)
    credential: str = Field(min_length=2, max_length=20_000)


class PasskeyAdded(View):
    """Answer of `POST /api/v1/passkeys`."""

    passkey: Passkey
    me: Me


class PasskeyAnswerBody(View):
    """Body of what a key that is known answers: JSON text."""

    credential: str = Field(min_length=2, max_length=20_000)


class PasskeyProofBody(View):
    """Body of `POST /api/v1/passkeys/proof/begin`."""

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class PasskeyProof(View):
    """Answer of `POST /api/v1/passkeys/proof`."""

    code: str = Field(description="To be sent as the code of the second factor, once, within two minutes.")


class SecondFactorState(View):
    """Answer of `GET /api/v1/second-factor`."""

    required: bool
    has_totp: bool
    recovery_codes_left: int


class TotpBegun(View):
    """Answer of `POST /api/v1/second-factor/totp`: what an authenticator app must be told; shown once."""

    secret: str
    address: str
    picture: str = Field(description="The address as a QR code: a data URI.")


class TotpConfirmBody(View):
    """Body of `POST /api/v1/second-factor/totp/confirm`."""

    code: str = Field(min_length=6, max_length=64)


class TotpConfirmed(View):
    """Answer of `POST /api/v1/second-factor/totp/confirm`; the codes are shown once."""

    recovery_codes: list[str]
    me: Me


class ProofBody(View):
    """Body of what asks once more who one is."""

    password: str = Field(min_length=1, max_length=256)
    code: str = Field(default="", max_length=64)


class PasswordBody(View):
    """Body of taking another password into use."""

    password: str = Field(min_length=1, max_length=256)
    new_password: str = Field(min_length=1, max_length=256)


class OwnSession(View):
    """One place where somebody is signed in."""

    session_id: str
    is_program: bool = Field(description="A program that acts in their name, not a page.")
    machine: str = Field(description="System and browser of the page, or the program's names; empty where unknown.")
    scopes: list[str] = Field(description="What a program may read; none for a page.")
    made_ms: int
    used_ms: int
    is_this: bool = Field(description="The one that asks.")


class OwnSessions(View):
    """Where somebody is signed in, the newest use first."""

    sessions: list[OwnSession]


class Display(View):
    """A wall display of a site."""

    display_id: str
    site: str
    name: str
    made_by: str
    made_ms: int
    paired_ms: int | None = Field(description="null while its code waits to be typed.")


class Displays(View):
    """Answer of `GET /api/v1/displays`."""

    displays: list[Display]


class DisplayBody(View):
    """Body of `POST /api/v1/displays`."""

    site: str = Field(min_length=1, max_length=40)
    name: str = Field(min_length=1, max_length=80)


class DisplayMade(View):
    """Answer of `POST /api/v1/displays`; the code is shown once."""

    display: Display
    code: str


class PairBody(View):
    """Body of `POST /api/v1/displays/pair`."""

    code: str = Field(min_length=1, max_length=20)


class Broken(View):
    """A record opened by breaking the glass: ids and reasons, never a name of the person."""

    break_id: str
    site: str
    person_id: str
    username: str
    role: str
    reason_code: str
    text: str
    opened_ms: int
    until_ms: int
    due_ms: int = Field(description="When the review must be done.")
    renewed: bool


class BrokenList(View):
    """Answer of `GET /api/v1/break-glass` and of its lists, in the order in which they want attention."""

    broken: list[Broken]


class BreakGlassBody(View):
    """Body of `POST /api/v1/break-glass`."""

    person: str = Field(min_length=1, max_length=64, description="Id of the person, or one of their numbers exactly.")
    reason_code: Literal["emergency", "cover", "transfer", "public-health", "other"]
    text: str = Field(min_length=1, max_length=500)
    password: str = Field(min_length=1, max_length=256)
    code: str = Field(default="", max_length=64)


class ReviewBody(View):
    """Body of `POST /api/v1/break-glass/{break_id}/review`."""

    verdict: Literal["justified", "unjustified"]
    text: str = Field(min_length=1, max_length=500)


class ConsentGrant(View):
    """One consent that stands."""

    grantee: str = Field(description="User name of the one whose access it is; empty where the purpose names nobody.")
    grantee_name: Text2 | None
    since_ms: int
    until_ms: int | None = Field(description="When it ends by itself; null = when it is withdrawn.")
    giver: Literal["self", "guardian"]
    giver_name: str
    method: Literal["signature", "verbal", "paper"]
    recorded_by: Text2


class ConsentView(View):
    """Where a person stands on one purpose."""

    purpose: Literal["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9"]
    version: int = Field(description="To be sent with what is given next.")
    state: Literal["given", "withdrawn", "never"]
    grants: list[ConsentGrant]
    ended_ms: int | None = Field(description="When it was last withdrawn.")
    needs_name: bool = Field(description="Given to one person of the family at a time.")
    needs_end: bool = Field(description="Given for a time only.")
    may_give: bool
    may_withdraw: bool
    pending: bool = Field(default=False, description="Recorded here, not yet ordered by the hub; it holds already.")
    refused: str = Field(default="", description="Why the newest step was not taken.")


class Relative(View):
    """Somebody of the family to whom access may be given."""

    username: str
    name: Text2


class Consents(View):
    """Answer of `GET /api/v1/persons/{person_id}/consents` and of what changes them."""

    person_id: str
    consents: list[ConsentView]
    family: list[Relative]


class ConsentGiveBody(View):
    """Body of `POST /api/v1/persons/{person_id}/consents`: a person, or their guardian, agreed."""

    purpose: Literal["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9"]
    version: int = Field(ge=0, le=2_147_483_647, description="Version the page saw; another one answers 409.")
    grantee: str = Field(default="", max_length=64)
    until_ms: int | None = Field(default=None, ge=0, le=4_102_444_800_000)
    giver: Literal["self", "guardian"] = "self"
    giver_name: str = Field(default="", max_length=80)
    method: Literal["signature", "verbal", "paper"] = "verbal"
    language: Literal["zh", "en"] = "zh"


class ConsentWithdrawBody(View):
    """Body of `POST /api/v1/persons/{person_id}/consents/withdrawal`: it holds whatever the page had seen."""

    purpose: Literal["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9"]
    grantee: str = Field(default="", max_length=64, description="Whose access ends; empty = everybody's.")
    reason: str = Field(default="", max_length=200)


class AlarmActionBody(View):
    """Body of `POST /api/v1/alarms/{alarm_id}/actions`."""

    action: Literal["accept", "pause", "resolve", "reset"]
    text: str = Field(default="", max_length=500)
    useful: Literal["", "yes", "no"] = ""
    pause_s: int = Field(default=120, ge=1, le=120)


class ReferralBody(View):
    """Body of `POST /api/v1/referrals` (bedside): the six fields; unknowns may stay as they are."""

    referral_id: str = Field(description="UUIDv7 made by the page: sending twice makes one referral.")
    bed_key: str
    level_claim: Literal["T0", "T1", "T2", "T3", "T4"] = "T0"
    last_known_well_ms: int | None = None
    last_known_well_code: Literal["known", "woke-up", "unknown"] = "unknown"
    main_signs: list[str] = Field(default_factory=list, max_length=8)
    anticoagulant: Literal["yes", "no", "unknown"] = "unknown"
    callback: str = Field(default="", max_length=40)
    question: str = Field(default="", max_length=2000)


class ReferralActionBody(View):
    """Body of `POST /api/v1/referrals/{referral_id}/moves`.  `triage-accept` takes the claimed level (decision 33)."""

    action: Literal["triage-accept", "move"]
    to_state: str = ""
    level: str = ""
    reason_code: str = Field(default="", max_length=40)
    text: str = Field(default="", max_length=4000)
    version: int = Field(description="Version the page saw; another one answers 409 with what happened.")


class ObservationBody(View):
    """Body of `POST /api/v1/beds/{key}/observations` (bedside): what a monitor never sends."""

    acvpu: Literal["", "A", "C", "V", "P", "U"] = ""
    oxygen: Literal["", "air", "oxygen"] = ""
    o2_flow_l_min: float | None = Field(default=None, ge=0, le=60)


class TrendPoint(View):
    """One step of a trend."""

    at_ms: int
    low: float
    high: float
    last: float


class Trend(View):
    """One measure over time; a gap is the absence of points, never an interpolation."""

    measure: str
    unit: str
    step_s: int
    points: list[TrendPoint]


class GivenUp(View):
    """A stretch whose single values a node gave up before the hub had them, because its disk was full."""

    from_ms: int
    to_ms: int
    has_minutes: bool = Field(description="Lowest, middle and highest of each minute are left of it.")


class Trends(View):
    """Answer of `GET /api/v1/beds/{key}/trends?hours=6`."""

    bed_key: str
    from_ms: int
    to_ms: int
    trends: list[Trend]
    link_gaps_ms: list[tuple[int, int]] = Field(description="Times without contact, hatched on the screen.")
    given_up: list[GivenUp] = Field(default_factory=list, description="Named on the screen; known to the hub alone.")


class ConsultBody(View):
    """Body of `POST /api/v1/consults` (hub): call this bed."""

    bed_key: str
    referral_id: str = ""


class StudyRow(View):
    """A study of images, as a site filed it."""

    study_key: str
    study_uid: str = Field(description="Study Instance UID: under it DICOMweb has its images.")
    site: str
    person_id: str = Field(description="Empty: nobody has said yet whose it is.")
    name: Text2 = Field(description="Of the person; of a study of nobody, what the images say.")
    study_date: str = Field(description="YYYYMMDD, empty where it is not said.")
    study_time: str = Field(description="HHMMSS, as far as it is said.")
    modalities: list[str]
    description: str
    series: int
    images: int = Field(description="Images and other objects that can be shown now.")
    state: Literal["preview", "partly", "whole"] = Field(description="How much of it has come from the site.")
    arrived: int = Field(description="Files that have come.")
    expected: int | None = Field(description="Files that the site has; null while it has not said.")
    changed_ms: int = Field(description="When something of it was last added here.")
    is_unread: bool = Field(
        description="Nobody has said that they read it, or more came since; not where `is_fetched`."
    )
    is_fetched: bool = Field(description="Fetched from an archive, and nobody has said since whether it is read.")
    read_by: Text2 | None = Field(description="Who said last that they read it.")
    read_ms: int | None
    has_key_image: bool = Field(description="True: a picture of it is here that came ahead of its images.")


class StudyRows(View):
    """A page of studies, the newest day first."""

    studies: list[StudyRow]
    total: int = Field(description="How many there are in all.")
    is_more: bool = Field(description="True: there are more than `total`, which nobody counted to the end.")
    has_archive: bool = Field(default=False, description="True: the hospital's archive of images can be looked into.")


class ArchiveFetch(View):
    """How far the fetch of a study from the hospital's archive is; answer to its beginning too."""

    state: Literal["none", "waiting", "fetching", "done", "failed"]
    images: int = Field(description="Images and other objects of it that are here.")
    of: int | None = Field(description="How many the archive has; null before it said so.")
    left_out: int = Field(description="How many were not kept: they cannot be read, or are not what was asked for.")
    reason: str = Field(description="Code of the failure that ended it; else empty.")


class ArchivedStudy(View):
    """A study that the hospital's archive has of a person, as the archive tells of it."""

    study_uid: str
    study_date: str = Field(description="YYYYMMDD, empty where it is not said.")
    study_time: str = Field(description="HHMM or HHMMSS, empty where it is not said.")
    modalities: list[str]
    description: str
    images: int | None = Field(description="Images and other objects; null where the archive does not say.")
    here: int = Field(description="How many of this study are here, without reports that were made here.")
    study_key: str = Field(description="By which it opens here; empty where nothing of it is here.")
    patient_name: str = Field(description="Of the patient in the archive.")
    birth_date: str = Field(description="YYYYMMDD in the archive, empty where it is not said.")
    sex: str
    differs: list[Literal["birth-date", "sex"]] = Field(description="What the person's record says otherwise.")
    fetch: ArchiveFetch


class ArchivedStudies(View):
    """Answer of `GET /api/v1/persons/{person_id}/archive`, the newest day first."""

    is_numbered: bool = Field(description="False: the person has no number that the archive knows patients by.")
    studies: list[ArchivedStudy]
    is_more: bool = Field(description="True: the archive may have more than these.")


class StudyReadBody(View):
    """Body of `POST /api/v1/studies/{study_key}/read` (hub): one has read what the page showed of it."""

    images: int = Field(ge=0, le=1_000_000_000, description="How many images and other objects the page showed.")


class SiteStudy(View):
    """A study of images as the site holds it."""

    study_id: str
    person_id: str = Field(description="Of whom it is filed under; empty while nobody has decided.")
    assigned_by: str = Field(description="Who decided; ':match' where its patient's identifier did.")
    patient_id: str = Field(description="What the images say, as the fields that follow.")
    patient_name: str
    birth_date: str = Field(description="YYYYMMDD, or empty.")
    study_date: str = Field(description="YYYYMMDD, or empty.")
    description: str
    is_mixed: bool = Field(description="Its images name more than one patient.")
    conflicts: int = Field(description="Images of which another content came under the same number.")
    newest_ms: int
    is_here: bool = Field(description="False: its images are at the hub, and no longer on this node.")


class SiteStudies(View):
    """Answer of `GET /api/v1/studies` at the bedside, the newest first."""

    studies: list[SiteStudy]


class StudyPersonBody(View):
    """Body of `POST /api/v1/studies/{study_id}/person` at the bedside."""

    person_id: str = Field(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9-]+$")


class ImportLaid(View):
    """Answer of `POST /api/v1/persons/{person_id}/imports` at the bedside: the file is kept, and is imported soon."""

    import_id: str


class ImportBecame(View):
    """What became of a photo or PDF that was handed to a node."""

    state: Literal["waiting", "imported", "refused"]
    text: Text2 | None = Field(description="Null while nothing has become of it.")


class FindingSaid(View):
    """What a finding is, and where: by a model, or by whoever corrected it."""

    code: str = Field(min_length=1, max_length=40, description="One of `telemed.ai_codes.FINDINGS`.")
    region: Literal["", "lobar", "deep", "infratentorial"]
    centre_mm: tuple[float, float, float] = Field(description="LPS, in the frame of reference of the series.")
    diameter_mm: float


class FindingReview(View):
    """What somebody said of a finding; nothing of it is ever changed, a later one stands."""

    version: int
    verdict: Literal["accepted", "edited", "rejected", "reopened"]
    reason: str = Field(description="Code why it was rejected; else empty.")
    said: FindingSaid | None = Field(description="What it is instead, where it was edited.")
    by: Text2
    at_ms: int


class ReviewedFinding(View):
    """A finding of a model with all that was said of it, the newest last."""

    finding_uid: str
    name: Text2
    told: FindingSaid
    confidence: float = Field(description="0 to 1, calibrated.")
    series_uid: str
    key_image_uid: str = Field(description="Empty where no image shows it.")
    reviews: list[FindingReview]


class ReviewedReport(View):
    """One report of one model, and how far people have come with it."""

    sop_uid: str
    sha256: str = Field(description="Of the report's bytes: to be sent with what is said of a finding.")
    outcome: str = Field(description="FOUND, NONE-FOUND or NOT-READ.")
    reason: str = Field(description="Code why the study was not read.")
    task: str
    version: str
    bundle_sha256: str
    training_data: str
    comments: list[str] = Field(description="Marks, summary and limits, in both languages.")
    state: Literal["preliminary", "final", "amended", "cancelled"]
    findings: list[ReviewedFinding]
    reviews: list[FindingReview] = Field(
        default_factory=list,
        description="Where nothing was found, what was said of that, under the report's own UID; the newest last.",
    )


class ReviewedReports(View):
    """Answer of `GET /api/v1/studies/{study_key}/reviews`."""

    reports: list[ReviewedReport]


class FindingReviews(View):
    """Answer of what is said of a finding: all that is said of it now, the newest last."""

    reviews: list[FindingReview]


class FindingReviewBody(View):
    """Body of `POST /api/v1/studies/{study_key}/findings/{finding_uid}/reviews`."""

    review_id: str = Field(
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        description="UUID made by the page: sending twice says it once.",
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the report that the page shows.")
    version: int = Field(ge=0, le=2_147_483_647, description="Version the page saw, 0: none; another one answers 409.")
    verdict: Literal["accepted", "edited", "rejected", "reopened"]
    reason: Literal["", "vessel", "calcification", "artefact", "normal-structure", "duplicate", "not-seen", "other"] = (
        ""
    )
    said: FindingSaid | None = None


class EnrolledNode(View):
    """The newest certificate of a node."""

    site: str
    node: str
    issued_ms: int
    ends_ms: int
    state: Literal["good", "ended", "revoked"]
    reason: str = Field(description="Why it was revoked, in the operator's words.")


class EnrolledNodes(View):
    """Answer of `GET /api/v1/nodes` (hub, operators)."""

    is_certified: bool = Field(description="False: this hub knows nodes by secrets, there is nothing to manage.")
    nodes: list[EnrolledNode]
    authority_days: int | None = Field(
        default=None,
        description="Whole days until the hub's authority ends, once that is near; negative: it has ended.",
    )


class NodeToken(View):
    """Answer of `POST /api/v1/nodes/{site}/{node}/token`: shown once, kept nowhere."""

    token: str
    qr: list[str] = Field(description="The same as a QR code: its rows, 1 for a dark module, without a border.")
    ends_ms: int


class NodeRevokeBody(View):
    """Body of `POST /api/v1/nodes/{site}/{node}/revocation`."""

    reason: str = Field(default="", max_length=40)


class NodeRevoked(View):
    """Answer of a revocation."""

    certificates: int = Field(description="How many were good until now.")


class Problem(View):
    """Every error answer of both HTTP faces (RFC 9457 problem+json)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    text: Text2
    fields: list[str] = Field(default_factory=list)
    allowed: list[str] = Field(default_factory=list)


class FindingConflict(Problem):
    """Refusal of what was said of a finding after somebody else was first, with what stands."""

    reviews: list[FindingReview]

"""What a page of this station shows, for one person: joins ward, log, link and consults."""

import asyncio
from collections.abc import Callable

from telemed import screen
from telemed.radio import radio_views
from telemed.roles import Reach, Right, reach
from telemed.shown import Shown
from telemed.stuck import stuck_views
from telemed.topics import Up
from telemed.v1 import event_pb2

from edge_node.bedside import views
from edge_node.bedside.accounts import Accounts, Refused, Session
from edge_node.bedside.consents import ConsentDesk
from edge_node.bedside.live import Live, Page
from edge_node.bedside.ports import Surroundings
from edge_node.bedside.referrals import ReferralDesk, bed_of
from edge_node.bedside.refusals import MANY, TOKEN_REFUSED, Refusals
from edge_node.samples.alarm import Alarm, Priority, Who
from edge_node.samples.measurement import WaveformSet

MS = 1_000_000
SHOWN_LIMIT = 20_000
STORING_AT_ONCE = 4
"""Requests that bring images; each may have a file of the largest size half-way."""
FollowVitals = Callable[[str, Callable[[], str]], None]
"""Bed code and how to make the message: also feeds the consult's data channel."""


def _unfollowed(_: str, __: Callable[[], str]) -> None:
    """Nobody follows beside the pages."""


class Station:
    """One bedside station."""

    def __init__(self, around: Surroundings, follow: FollowVitals = _unfollowed) -> None:
        self.around = around
        node = around.config.node
        self.site = node.site
        self.accounts = Accounts(node.site, lambda: around.care.roster, around.clock)
        self.live = Live(around.clock, self.site_view)
        self.referrals = ReferralDesk(around)
        self.consents = ConsentDesk(around)
        self.storing = asyncio.Semaphore(STORING_AT_ONCE)
        self._follow = follow
        self._shown = Shown(SHOWN_LIMIT)
        self._refusals, self._tokens_refused = Refusals(), Refusals()
        self._last_arrival_ns = 0

    def open_page(self, session: Session) -> Page:
        """Return a page that is told everything from now on."""
        page = Page(session, lambda: self.own_beds(session))
        self.live.pages[page.page_id] = page
        return page

    def close_page(self, page: Page) -> None:
        """A page closed."""
        self.live.pages.pop(page.page_id, None)
        self.around.consults.page_gone(page.page_id)

    def may(self, session: Session, right: Right) -> bool:
        """True where somebody may do this at this station; what is for a home alone only in one."""
        how_far = reach(session.who.role, right)
        return how_far is not None and (how_far is not Reach.HOME or self.around.config.node.home)

    def sees_alarm(self, session: Session, alarm_id: str) -> bool:
        """True where an alarm is of a bed that somebody may see; what is not known here is left to the ward."""
        own = self.own_beds(session)
        at = [alarm.finding.bed for alarm in self.around.ward.alarms() if alarm.alarm_id == alarm_id]
        return own is None or any(views.key_of(self.site, bed) in own for bed in at)

    def own_beds(self, session: Session) -> set[str] | None:
        """Return the keys of the beds somebody may see; None = all of the site."""
        if not session.sees_own_only:
            return None
        own = self.around.care.roster.beds_of(session.who.username)
        return {views.key_of(self.site, bed) for bed in own}

    async def note_refusal(self, username: str, refused: Refused) -> None:
        """Write down that a sign-in was tried and refused; of a crowd of strangers one entry a minute tells."""
        if not refused.was_tried:
            return
        result = self._refusals.result(self.around.clock(), is_known=refused.is_known)
        if result is not None:
            who = None if result == MANY else Who(username, "")
            await self.around.audit.note(who, "sign-in", "account", MANY if result == MANY else refused.code)

    async def note_token_refused(self) -> None:
        """Write down that a device's token was tried that is nobody's; of a crowd one entry a minute tells."""
        result = self._tokens_refused.result(self.around.clock(), is_known=False)
        if result is not None:
            await self.around.audit.note(None, "images-store", "token", MANY if result == MANY else TOKEN_REFUSED)

    def sees_person(self, session: Session, person_id: str) -> bool:
        """True where somebody may see a person of this site; who sees only their own sees those in their beds."""
        roster = self.around.care.roster
        if not session.sees_own_only:
            return person_id in roster.persons
        return person_id in {roster.beds[bed] for bed in roster.beds_of(session.who.username)}

    async def looked(self, page: Page, *, at_referrals: bool) -> None:
        """Write down whom a page shows, before it does; whoever goes on looking is written down again now and then."""
        roster = self.around.care.roster
        shown = [row.bed for row in self.around.config.beds if page.may_see(views.key_of(self.site, row.bed))]
        found = [person for person in map(roster.occupant, shown) if person is not None]
        await self.note_views(page.session, "live-view", [person.person_id for person in found])
        if at_referrals and not page.session.is_caregiver:
            await self.note_views(page.session, "referral-read", self.referred())

    def referred(self) -> list[str]:
        """Return the persons whom this site's referrals are about."""
        found = {case.submitted.referral_submitted.person_id for case in self.referrals.cases().values()}
        return sorted(found - {""})

    async def note_views(self, session: Session, action: str, person_ids: list[str]) -> None:
        """Write down that somebody is shown data of some persons, once for each stretch of time."""
        await self.note_shown(session, action, [f"Patient/{person}" for person in person_ids])

    async def note_shown(self, session: Session, action: str, targets: list[str]) -> None:
        """Write down that somebody is shown something, once for each stretch of time."""
        now_ns = self.around.clock()
        due = [target for target in targets if self._shown.is_due((session.token, action, target), now_ns)]
        if due:
            await self.around.audit.note_all(session.who, [(action, target, "ok") for target in due])

    def snapshot(self, page: Page) -> str:
        """Return everything a page shows, as JSON text."""
        session, config = page.session, self.around.config
        staff = not session.sees_own_only
        beds = [views.bed(self.around, row.bed) for row in config.beds]
        alarms = [self.alarm_view(alarm, not session.is_caregiver) for alarm in self.around.ward.alarms()]
        whole = screen.Snapshot(
            face="bedside",
            server_time_ms=self.around.clock() // MS,
            demo=config.node.demo,
            takes_images=config.imaging is not None,
            me=self.me(session),
            sites=[self.site_view(staff)],
            beds=[bed for bed in beds if page.may_see(bed.key)],
            alarms=[alarm for alarm in alarms if page.may_see(alarm.bed_key)],
            referrals=self.referrals.views(session.who.role) if staff else [],
            consults=self.around.consults.consults() if staff else [],
        )
        return whole.model_dump_json()

    def me(self, session: Session) -> screen.Me:
        """Return who is signed in."""
        return views.me(session.who, [self.site], session.csrf_token)

    def alarm_view(self, alarm: Alarm, staff: bool) -> screen.Alarm:
        """Return an alarm; a caregiver reads its words and not who did what."""
        view = views.alarm(alarm, self.around.words, self.site)
        if staff:
            return view
        hidden = {"measure": "", "value": "", "unit": "", "limit": "", "ruleset": "", "steps": []}
        return view.model_copy(update={**hidden, "accepted_by": None, "seen_by": None, "escalates_at_ms": None})

    def site_view(self, staff: bool) -> screen.Site:
        """Return the site's link and sync state; what is stuck is for the staff, and names beds."""
        node, link = self.around.config.node, self.around.link()
        waiting = self.around.waiting()
        return screen.Site(
            site=self.site,
            name=screen.Text2(zh=node.name_zh, en=node.name_en),
            region=node.region,
            beds=[views.key_of(self.site, row.bed) for row in self.around.config.beds],
            link=link.state,
            link_since_ms=link.since_ns // MS,
            caught_up_to_ms=link.caught_up_to_ns // MS or None,
            waiting=screen.WaitingView(
                alarm=waiting.get(Up.ALARM, 0),
                care=waiting.get(Up.CARE, 0),
                vitals=waiting.get(Up.VITALS, 0),
                waves=waiting.get(Up.WAVES, 0),
            ),
            stuck=stuck_views(self.around.stuck() if staff else []),
            buffer_hours=self.around.hours_left(),
            last_arrival_ms=self._last_arrival_ns // MS or None,
            delay_ms=None,
            phone=node.phone,
            radios=radio_views(self.around.radios()),
        )

    def for_strangers(self) -> dict[str, object]:
        """Return what stands on the sign-in page: no names of persons (screens 4.1)."""
        config, link = self.around.config, self.around.link()
        labels = {row.bed: row.label for row in config.beds}
        high = [
            labels.get(alarm.finding.bed, "")
            for alarm in self.around.ward.alarms()
            if alarm.stands and alarm.finding.priority is Priority.HIGH
        ]
        return {
            "site": self.site,
            "name": {"zh": config.node.name_zh, "en": config.node.name_en},
            "region": config.node.region,
            "demo": config.node.demo,
            "link": link.state,
            "link_since_ms": link.since_ns // MS,
            "phone": config.node.phone,
            "hub_phone": config.node.hub_phone,
            "high_alarms": sorted(set(high)),
            "server_time_ms": self.around.clock() // MS,
        }

    def alarm_moved(self, alarm: Alarm) -> None:
        """Tell the pages of a step of an alarm; called by the ward."""
        key = views.key_of(self.site, alarm.finding.bed)
        for page in list(self.live.pages.values()):
            if page.may_see(key):
                staff = not page.session.is_caregiver
                page.push(screen.AlarmMessage(alarm=self.alarm_view(alarm, staff)).model_dump_json())

    def readings_changed(self, bed: str, measures: set[str]) -> None:
        """Tell the pages of new values; called by the ward."""
        if bed not in {row.bed for row in self.around.config.beds}:
            return
        now = self.around.ward.bed(bed)
        if measures:
            self._last_arrival_ns = self.around.clock()
        key = views.key_of(self.site, bed)

        def message() -> screen.ReadingsMessage:
            return screen.ReadingsMessage(
                bed_key=key,
                readings=views.readings(now, self.around.words, self.around.config.node.home, sorted(measures)),
                news2=views.news2(self.around.ward.score(bed)),
                not_live=now.not_live,
            )

        self.live.to_bed(key, message)
        self._follow(bed, lambda: message().model_dump_json())

    def waves_arrived(self, bed: str, waves: WaveformSet) -> None:
        """Send waves to the pages that watch this bed; called by the ward."""
        self._last_arrival_ns = self.around.clock()
        key = views.key_of(self.site, bed)
        self.live.to_watchers(key, lambda: views.wave(key, waves))
        self._follow(bed, lambda: views.wave(key, waves).model_dump_json())

    def events_changed(self, events: list[event_pb2.Event]) -> None:
        """Events were proposed here or ordered by the hub: tell what they changed."""
        kinds = {event.aggregate_type for event in events}
        for referral_id in {event.aggregate_id for event in events if event.aggregate_type == "referral"}:
            self.tell_referral(referral_id)
        if kinds & {"person", "bed", "device", "account", "node", "consent"}:
            self.live.fresh_snapshots()

    def tell_referral(self, referral_id: str) -> None:
        """Tell the staff's pages of a referral that moved."""
        case = self.referrals.cases().get(referral_id)
        if case is None:
            return
        for page in list(self.live.pages.values()):
            if not page.session.sees_own_only:
                view = self.referrals.view(case, page.session.who.role)
                page.push(screen.ReferralMessage(referral=view).model_dump_json())

    def consult_changed(self, consult: screen.Consult) -> None:
        """Tell the staff's pages of a consult that began or moved on."""
        message = screen.ConsultMessage(consult=consult)
        self.live.to_staff(lambda: message)

    def readings_of(self, bed: str, measures: list[str]) -> list[screen.Reading]:
        """Return the newest values of some measures of a bed."""
        return views.readings(self.around.ward.bed(bed), self.around.words, self.around.config.node.home, measures)

    def bed_code(self, session: Session, bed_key: str) -> str | None:
        """Return the bed of a key if this person may see it."""
        own = self.own_beds(session)
        return bed_of(self.around, bed_key) if own is None or bed_key in own else None

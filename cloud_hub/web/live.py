"""The live picture and those who watch it: takes what was committed, tells the pages.

Everything runs on the event loop.  What needs a database (a set-up that changed, a silent site) waits in a queue
for `run`, so that the intake is never held up.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection
from telemed import consent, screen
from telemed.consent import Purpose
from telemed.roles import ELSEWHERE, Role
from telemed.topics import NodeAddress
from telemed.v1 import event_pb2, sample_pb2, uplink_pb2

from cloud_hub.access.rights import Principal
from cloud_hub.care import alarms
from cloud_hub.care.referral import Referral
from cloud_hub.desk.intake import AlarmTaken, EventTaken, Taken
from cloud_hub.desk.silence import Change, Silence
from cloud_hub.errors import StoreFailure
from cloud_hub.store import alarms as stored_alarms
from cloud_hub.store import persons, reconciliations
from cloud_hub.store.engine import Database
from cloud_hub.store.notices import Notice
from cloud_hub.store.persons import Person
from cloud_hub.store.reconciliations import Reconciliation
from cloud_hub.web import live_load
from cloud_hub.web.feeds import Feed, Kind, Message
from cloud_hub.web.live_beds import BedState, wave_channel
from cloud_hub.web.live_jobs import Jobs
from cloud_hub.web.picture import Picture, may_see_holder, reduced_bed, reduced_site, sees_partly
from cloud_hub.web.views import alarm_view, reduced_alarm

TICK_S, PAGE_TICK_S, SCORE_S, AGAIN_S, KEEP_S = 1.0, 2, 10, 10, 30
"""Links are judged every second; pages hear a tick every 2 s; scores age every 10 s; what a database refused is tried
again every 10 s; arrivals are kept every 30 s."""
_SET_UP = frozenset({"person", "bed", "device", "node"})
_UNHEARD = frozenset({"lost", "never"})
_CHANGES_AT_ONCE = 20
"""So many sites' silence goes into one commit: alarms of patients wait for the same writer."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    """The two databases."""

    care: Database
    samples: Database


class Live:
    """The hub's `LiveSink`, and where pages join."""

    def __init__(
        self, stores: Stores, region: str, silence_after_s: float, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.picture = Picture(region)
        self.feeds: set[Feed] = set()
        self.on_signal: Callable[[NodeAddress, uplink_pb2.Signal], None] = lambda _address, _signal: None
        """Told of consult signals that came up; set by whoever joins the parts."""
        self.on_watched: Callable[[Mapping[NodeAddress, frozenset[str]]], None] = lambda _watched: None
        """Told whose waves are looked at now, by node and device; set by whoever joins the parts."""
        self.on_consent: Callable[[], None] = lambda: None
        """Told when somebody agreed to something or took it back: what is known of who may see what is old."""
        self.now_ns = now_ns
        self._stores = stores
        self._region = region
        self._silence_ns = int(silence_after_s * 10**9)
        self._silence = Silence(stores.care, region, self.take, now_ns)
        self._began_ns = self._rungs_ns = now_ns()
        self._jobs = Jobs()
        self._told: dict[str, screen.Site] = {}
        self._silent: set[str] = set()
        self._hushed: list[Change] = []
        """What changed of silent sites and is not stored yet, in order."""

    async def load(self) -> None:
        """Fill the picture from the databases; once, before anything comes in."""
        now_ns, region = self.now_ns(), self._region
        care = self._stores.care
        self.picture.apply(await care.read(lambda c: live_load.set_up(c, region, None, now_ns)), None)
        for alarm in await care.read(lambda c: live_load.open_alarms(c, region, now_ns)):
            self.picture.alarms[alarm.alarm_id] = alarm
            if alarm.first.condition == "site-silent" and alarm.is_active:
                self._silent.add(alarm.site)
        for run in await care.read(lambda c: reconciliations.newest(c, region)):
            self.reconciled(run)
        referrals = await care.read(lambda c: live_load.open_referrals(c, region, now_ns))
        self.picture.referrals = referrals
        self.picture.persons = await care.read(
            lambda c: live_load.referred(c, region, (one for _, one in referrals.values()))
        )
        await self._load_readings(list(self.picture.sites), now_ns)

    async def run(self) -> None:
        """Do what waits, and judge links and ages, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._jobs.run())
            group.create_task(self._watch())

    def contact(self, address: NodeAddress, received_ns: int) -> None:
        """A node was heard."""
        node = self.picture.node(address)
        node.heard_ns = max(node.heard_ns, received_ns)
        if self.picture.sites[address.site].link in _UNHEARD:
            self._judge(address.site)

    def numerics(
        self, address: NodeAddress, device: str, sample: sample_pb2.NumericSet, received_ns: int, came_ns: int = 0
    ) -> None:
        """A numeric set is stored."""
        bed = self.picture.bed_of(address, device)
        if bed is None:
            return
        before = (bed.not_live, bed.unassigned)
        measures = bed.take(device, sample, received_ns, came_ns)
        if measures and sample.origin == sample_pb2.ORIGIN_LIVE and not sample.clock_suspect:
            delay_ns = received_ns - sample.measured_at_unix_ns
            self.picture.node(address).delay_ms = max(0, delay_ns // 10**6)
        if (bed.not_live, bed.unassigned) != before:
            self._say_bed(bed)
        elif measures and self._is_looked_at(bed.site):
            self._say_readings(bed, measures)

    def waves(self, address: NodeAddress, device: str, sample: sample_pb2.WaveformSet, received_ns: int) -> None:
        """A stretch of waves is stored; only pages that watch the bed are told."""
        bed = self.picture.bed_of(address, device)
        if bed is None or sample.assignment == sample_pb2.ASSIGNMENT_UNASSIGNED:
            return
        bed.take_waves(device, sample, received_ns)
        key = bed.key
        watchers = [feed for feed in self.feeds if key in feed.watched and self._may_see(feed, bed)]
        if watchers and not sample.late:
            channels = [wave_channel(channel, sample.measured_at_unix_ns) for channel in sample.channels]
            text = screen.WaveMessage(bed_key=key, channels=channels).model_dump_json()
            for feed in watchers:
                feed.put(text)

    def watch(self, feed: Feed, bed_keys: Iterable[str]) -> None:
        """A page says whose waves it shows; whether it may see a bed is asked again with every stretch of waves."""
        feed.watched = frozenset(bed_keys)
        self._tell_watched()

    def presence(self, address: NodeAddress, presence: uplink_pb2.Presence, received_ns: int) -> None:
        """A node tells how it is."""
        self.contact(address, received_ns)
        node = self.picture.node(address)
        node.presence, node.presence_ns = presence, received_ns

    def noticed(self, site: str, notices: list[Notice]) -> None:
        """What the operator must look at changed; the pages hear of it with the site's next state."""
        self.picture.site(site).notices = notices

    def reconciled(self, run: Reconciliation) -> None:
        """A comparison with a node has ended; the pages hear of it with the site's next state."""
        self.picture.site(run.address.site).reconciled[run.address.node] = run

    def signal(self, address: NodeAddress, signal: uplink_pb2.Signal) -> None:
        """A consult signal came up."""
        self.on_signal(address, signal)

    def take(self, taken: list[Taken]) -> None:
        """Alarms and events are stored."""
        sites, referrals = set(), set()
        for one in taken:
            if isinstance(one, AlarmTaken):
                self._take_alarm(one)
            elif one.ordered.event.aggregate_type in _SET_UP and not one.ordered.refused:
                sites.add(one.site)
            elif one.ordered.event.aggregate_type == "referral":
                referrals.add(one.ordered.event.aggregate_id)
            elif one.ordered.event.aggregate_type == consent.AGGREGATE and not one.ordered.refused:
                self._take_consent(one)
            elif one.ordered.event.aggregate_type == "alarm" and not one.ordered.refused:
                self._take_asked(one)
        for site in sites:
            self._jobs.put(self._reload_site, site)
        for referral_id in referrals:
            self._jobs.put(self._reload_referral, referral_id)

    def alarm_changed(self, alarm_id: str) -> None:
        """What is stored of an alarm was corrected."""
        self._jobs.put(self._reload_alarm, alarm_id)

    def consult_changed(self, consult: screen.Consult) -> None:
        """A consult began or moved on."""
        site = consult.bed_key.partition(":")[0]
        self._say("consult", site, "", lambda: (screen.ConsultMessage(consult=consult).model_dump_json(), ""))

    def join(self, principal: Principal, client: str) -> Feed:
        """Let a page listen; it begins with a snapshot."""
        feed = Feed(principal, client)
        self.feeds.add(feed)
        return feed

    def leave(self, feed: Feed) -> None:
        """A page is gone; harmless twice."""
        self.feeds.discard(feed)
        self._tell_watched()

    def to_page(self, username: str, client: str | None, message: screen.SignalMessage) -> None:
        """Tell the pages of one person, or one of them."""
        text = message.model_dump_json()
        for feed in self.feeds:
            if feed.principal.username == username and client in (None, feed.client):
                feed.put(text)

    def _may_see(self, feed: Feed, bed: BedState) -> bool:
        return self.picture.may_see(feed.principal, bed)

    def _take_alarm(self, taken: AlarmTaken) -> None:
        alarm = self.picture.take_alarm(taken)
        if alarm is None:
            self._jobs.put(self._reload_alarm, taken.event.alarm_id)
        else:
            self._say_alarm(alarm)

    def _take_asked(self, taken: EventTaken) -> None:
        event = taken.ordered.event
        known = self.picture.alarms.get(event.aggregate_id)
        if known is None:
            self._jobs.put(self._reload_alarm, event.aggregate_id)
            return
        alarm = alarms.with_asked(known, [alarms.asked_by(event)])
        self.picture.alarms[alarm.alarm_id] = alarm
        self._say_alarm(alarm)

    def _take_consent(self, taken: EventTaken) -> None:
        """Pages show no more of whom they may not show; what they may show is looked up anew."""
        self.on_consent()
        event = taken.ordered.event
        for feed in self.feeds:
            if event.WhichOneof("body") == "consent_withdrawn" and _hides(event.consent_withdrawn, feed.principal):
                feed.loses(event.consent_withdrawn.person_id)
            feed.rights_changed.set()

    def _say(self, kind: Kind, site: str, person_id: str, texts: Callable[[], tuple[str, str]]) -> None:
        # At five thousand beds most of what happens is before nobody's eyes, and making text of it is what costs.
        if not self._is_looked_at(site):
            return
        message = Message(kind, site, person_id, *texts())
        for feed in self.feeds:
            feed.offer(message)

    def _is_looked_at(self, site: str) -> bool:
        for feed in self.feeds:  # noqa: SIM110 - a generator costs more than all that it would ask
            if feed.principal.sees_some_of(site):
                return True
        return False

    def _say_bed(self, bed: BedState) -> None:
        def texts() -> tuple[str, str]:
            view = bed.view(self.now_ns())
            return (
                screen.BedMessage(bed=view).model_dump_json(),
                screen.BedMessage(bed=reduced_bed(view)).model_dump_json(),
            )

        self._say("bed", bed.site, _holder(bed), texts)

    def _say_readings(self, bed: BedState, measures: list[str]) -> None:
        def texts() -> tuple[str, str]:
            news2 = bed.score(self.now_ns())
            text = screen.ReadingsMessage(
                bed_key=bed.key, readings=bed.readings_of(measures), news2=news2, not_live=bed.not_live
            ).model_dump_json()
            return text, text

        self._say("bed", bed.site, _holder(bed), texts)

    def _say_alarm(self, alarm: alarms.Alarm) -> None:
        def texts() -> tuple[str, str]:
            view = alarm_view(alarm, self.now_ns())
            full = screen.AlarmMessage(alarm=view).model_dump_json()
            if alarm.first.technical:
                return full, ""
            return full, screen.AlarmMessage(alarm=reduced_alarm(view)).model_dump_json()

        self._say("technical" if alarm.first.technical else "alarm", alarm.site, alarm.first.person_id, texts)

    def _say_site(self, view: screen.Site) -> None:
        self._say("site", view.site, "", lambda: (screen.SiteMessage(site=view).model_dump_json(), ""))
        for feed in self.feeds:
            if sees_partly(feed.principal, view.site):
                own = {bed.key for bed in self.picture.beds.values() if self._may_see(feed, bed)}
                feed.put(screen.SiteMessage(site=reduced_site(view, own)).model_dump_json())

    async def _watch(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(TICK_S)
            beat += 1
            for site in list(self.picture.sites):
                self._judge(site)
                self._tell_site(site)
            if beat % AGAIN_S == 0:
                self._jobs.again()
            self._tell_watched()
            self._say_rungs()
            if beat % PAGE_TICK_S == 0:
                self._tick_pages()
            if beat % SCORE_S == 0:
                self._rescore()
            if beat % KEEP_S == 0:
                self.picture.forget_old(self.now_ns())
                self._jobs.put(self._keep_arrivals)

    def _tell_watched(self) -> None:
        keys = {
            key
            for feed in self.feeds
            for key in feed.watched
            if key in self.picture.beds and self._may_see(feed, self.picture.beds[key])
        }
        self.on_watched(self.picture.devices_at(keys))

    def _tick_pages(self) -> None:
        text = screen.Tick(server_time_ms=self.now_ns() // 10**6).model_dump_json()
        for feed in self.feeds:
            feed.put(text)

    def _say_rungs(self) -> None:
        """Tell of alarms whose next rung is another one now: the countdown on the screens starts anew."""
        before_ns, self._rungs_ns = self._rungs_ns, self.now_ns()
        for alarm in self.picture.alarms.values():
            if alarms.escalates_ns(alarm, before_ns) != alarms.escalates_ns(alarm, self._rungs_ns):
                self._say_alarm(alarm)

    def _rescore(self) -> None:
        if self.feeds:
            for bed in self.picture.beds.values():
                if bed.may_score:
                    self._say_readings(bed, [])

    def _tell_site(self, site: str) -> None:
        if not self._is_looked_at(site):
            # A page that opens is shown the site as it is then; what was told before says nothing about that page.
            self._told.pop(site, None)
            return
        view = self.picture.site_view(site)
        if self._told.get(site) != view:
            self._told[site] = view
            self._say_site(view)

    def _judge(self, site: str) -> None:
        """Judge a site's link; begin or end the alarm of its silence."""
        now_ns, state = self.now_ns(), self.picture.sites[site]
        state.judge(now_ns, self._silence_ns)
        quiet_ns = now_ns - max(state.quietest_ns(), self._began_ns)
        if state.link == "lost" and quiet_ns > self._silence_ns and site not in self._silent:
            self._silent.add(site)
            self._note_silence(Change(site, state.quietest_ns()))
        elif state.link in {"live", "weak"} and site in self._silent:
            self._silent.discard(site)
            self._note_silence(Change(site, None))

    def _note_silence(self, change: Change) -> None:
        self._hushed.append(change)
        self._jobs.put(self._keep_silence)

    async def _keep_silence(self) -> None:
        at_once = _CHANGES_AT_ONCE
        while changes := self._hushed[:at_once]:
            try:
                await self._silence.change(changes)
            except StoreFailure as failure:
                if failure.is_passing:
                    # It stays, and is tried again.
                    raise
                if at_once > 1:
                    # One that can never be stored must not hold up the others.
                    at_once = 1
                    continue
                log.error("silence-not-stored", site=changes[0].site, why=str(failure))
            del self._hushed[: len(changes)]

    async def _reload_site(self, site: str) -> None:
        now_ns = self.now_ns()
        referred = {name for name, person in self.picture.persons.items() if person.site == site}
        found = await self._stores.care.read(lambda c: live_load.set_up(c, self._region, [site], now_ns, referred))
        self.picture.persons |= {name: person for name, person in found.persons.items() if name in referred}
        known = set(self.picture.beds)
        holders = {bed.key: _holder(bed) for bed in self.picture.beds.values() if bed.site == site}
        touched = self.picture.apply(found, [site])
        for bed in touched:
            self._say_bed(bed)
        if set(self.picture.beds) != known:
            # Apart: where that fails it is tried again, and by then no bed is new any more.
            self._jobs.put(self._load_readings_of, site)
        self._tell_site(site)
        # Who may see what may have changed with the beds: a caregiver's person moved, or whoever took sharing back lies
        # down where somebody else was, of which no message tells.
        passed_on = [bed for bed in touched if holders.get(bed.key, "") != _holder(bed)]
        for feed in self.feeds:
            if sees_partly(feed.principal, site) or any(
                may_see_holder(feed.principal, site, holders.get(bed.key, "")) and not self._may_see(feed, bed)
                for bed in passed_on
            ):
                feed.ask_snapshot()

    async def _reload_referral(self, referral_id: str) -> None:
        def look(connection: Connection) -> tuple[tuple[str, Referral] | None, dict[str, Person]]:
            found = live_load.one_referral(connection, self._region, referral_id)
            return found, live_load.referred(connection, self._region, [found[1]] if found else [])

        found, persons_of_it = await self._stores.care.read(look)
        if found is None:
            return
        self.picture.referrals[referral_id] = found
        self.picture.persons |= persons_of_it
        view = self.picture.referral_view(*found, self.now_ns())
        text = screen.ReferralMessage(referral=view).model_dump_json()
        self._say("referral", found[0], found[1].submitted.person_id, lambda: (text, ""))

    async def _reload_alarm(self, alarm_id: str) -> None:
        found = await self._stores.care.read(lambda c: stored_alarms.alarm_of(c, self._region, alarm_id))
        if found is not None:
            self.picture.alarms[alarm_id] = found
            self._say_alarm(found)

    async def _load_readings(self, sites: list[str], now_ns: int) -> None:
        for stored in await self._stores.samples.read(lambda c: live_load.newest_sets(c, sites, now_ns)):
            bed = self.picture.bed_of(NodeAddress(self._region, stored.site, stored.node), stored.device)
            if bed is not None:
                bed.take(stored.device, stored.sample, stored.received_ns, stored.came_ns)

    async def _load_readings_of(self, site: str) -> None:
        await self._load_readings([site], self.now_ns())
        for bed in self.picture.beds.values():
            if bed.site == site:
                self._say_bed(bed)

    async def _keep_arrivals(self) -> None:
        arrivals = {
            (self._region, site, name): node.heard_ns
            for site, state in self.picture.sites.items()
            for name, node in state.nodes.items()
            if node.heard_ns
        }
        await self._stores.care.write(lambda c: persons.note_arrivals(c, arrivals))


def _holder(bed: BedState) -> str:
    return bed.person.person_id if bed.person else ""


def _hides(body: event_pb2.ConsentWithdrawn, principal: Principal) -> bool:
    if body.purpose == Purpose.FAMILY:
        return principal.role is Role.CAREGIVER and body.grantee in ("", principal.username)
    return body.purpose == Purpose.SHARING and principal.role in ELSEWHERE

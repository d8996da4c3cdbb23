"""The live picture of the region: sites, beds, alarms and referrals as they are now.  No I/O."""

from collections.abc import Collection, Iterable

from telemed import screen
from telemed.roles import Role
from telemed.topics import NodeAddress

from cloud_hub.access.rights import Principal, Right
from cloud_hub.care import alarms
from cloud_hub.care.alarms import Alarm
from cloud_hub.care.referral import Referral
from cloud_hub.desk.intake import AlarmTaken
from cloud_hub.store.persons import Node, Person
from cloud_hub.web.feeds import sees_person
from cloud_hub.web.live_beds import BedState
from cloud_hub.web.live_load import KEEP_ALARMS_NS, SetUp
from cloud_hub.web.live_sites import NodeState, SiteState
from cloud_hub.web.live_sync import bed_sync
from cloud_hub.web.views import alarm_view, bed_key, reduced_alarm, referral_view


class Picture:
    """What the hub knows now; used on the event loop alone."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.sites: dict[str, SiteState] = {}
        self.beds: dict[str, BedState] = {}
        self.persons: dict[str, Person] = {}
        """Whom the referrals are about; who lies in a bed is known by the bed."""
        self.alarms: dict[str, Alarm] = {}
        self.referrals: dict[str, tuple[str, Referral]] = {}
        self._bed_of_device: dict[tuple[str, str, str], str] = {}

    def apply(self, set_up: SetUp, sites: Iterable[str] | None) -> list[BedState]:
        """Take over who and what is where at these sites (None = all); return the beds, readings kept."""
        known = {node.site for node in set_up.nodes} | {place.site for place in set_up.places}
        known |= {stay.site for stay in set_up.stays}
        chosen = known if sites is None else set(sites)
        self._bed_of_device = {key: bed for key, bed in self._bed_of_device.items() if key[0] not in chosen}
        for node in set_up.nodes:
            self._node(node)
        for place in set_up.places:
            self._bed_of_device[place.site, place.node, place.device] = bed_key(place.site, place.bed)
            self._bed(place.site, place.bed)
        for stay in set_up.stays:
            self._bed(stay.site, stay.bed)
        touched = [bed for bed in self.beds.values() if bed.site in chosen]
        self._furnish(touched, chosen, set_up)
        for site in chosen & self.sites.keys():
            self.sites[site].beds = self._wall_order(site, set_up.nodes)
        return touched

    def site(self, name: str) -> SiteState:
        """State of a site; made where it is not known yet."""
        known = self.sites.get(name)
        if known is None:
            known = self.sites[name] = SiteState(name, self.region)
        return known

    def node(self, address: NodeAddress) -> NodeState:
        """State of a node; made where it has not described itself yet."""
        nodes = self.site(address.site).nodes
        known = nodes.get(address.node)
        if known is None:
            known = nodes[address.node] = NodeState(Node(*address, "", "", "", False, (), {}, 0))
        return known

    def bed_of(self, address: NodeAddress, device: str) -> BedState | None:
        """Bed at which a device stands now; None where it stands at none."""
        return self.beds.get(self._bed_of_device.get((address.site, address.node, device), ""))

    def devices_at(self, keys: Collection[str]) -> dict[NodeAddress, frozenset[str]]:
        """Devices that stand at these beds, by node."""
        found: dict[NodeAddress, set[str]] = {}
        for (site, node, device), key in self._bed_of_device.items():
            if key in keys:
                found.setdefault(NodeAddress(self.region, site, node), set()).add(device)
        return {address: frozenset(devices) for address, devices in found.items()}

    def node_at(self, site: str, bed: str) -> NodeAddress | None:
        """Node that serves a bed: the one that named it, else the one whose device stands there."""
        state = self.sites.get(site)
        for name, node in (state.nodes if state else {}).items():
            if any(code == bed for code, _ in node.node.beds):
                return NodeAddress(self.region, site, name)
        key = bed_key(site, bed)
        owner = next((where for where, at in self._bed_of_device.items() if at == key), None)
        return NodeAddress(self.region, site, owner[1]) if owner else None

    def take_alarm(self, taken: AlarmTaken) -> Alarm | None:
        """Take one step of an alarm; None where its beginning is not known here and it must be loaded."""
        known = self.alarms.get(taken.event.alarm_id)
        if known is None and taken.event.alarm_seq != 1:
            return None
        alarm = (
            alarms.after(known, taken.event) if known else alarms.begin(taken.address, taken.event, taken.received_ns)
        )
        self.alarms[alarm.alarm_id] = alarm
        return alarm

    def forget_old(self, now_ns: int) -> None:
        """Drop alarms that nobody owes anything and that moved more than a day ago."""
        for alarm in list(self.alarms.values()):
            if not alarm.wants_attention and now_ns - alarm.steps[-1].at_unix_ns > KEEP_ALARMS_NS:
                del self.alarms[alarm.alarm_id]

    def beds_for(self, principal: Principal, now_ns: int) -> list[screen.Bed]:
        """The beds this principal may see, in the order of the wall."""
        if not principal.may(Right.SEE_VITALS):
            return []
        order = [key for site in sorted(self.sites) for key in self.sites[site].beds]
        seen = [self.beds[key] for key in order if self.may_see(principal, self.beds[key])]
        views = [bed.view(now_ns) for bed in seen]
        return [reduced_bed(view) for view in views] if principal.sees_own_only else views

    def may_see(self, principal: Principal, bed: BedState) -> bool:
        """True where this principal may see this bed's values."""
        return may_see_holder(principal, bed.site, bed.person.person_id if bed.person else "")

    def persons_for(self, principal: Principal) -> set[str]:
        """Return whom a page of this principal shows: in beds, alarms and referrals."""
        found = {bed.person.person_id for bed in self.beds.values() if bed.person and self.may_see(principal, bed)}
        if principal.may(Right.SEE_VITALS):
            found |= {one.first.person_id for one in self.alarms.values() if _may_see_alarm(principal, one)}
        return (found | self.referred_for(principal)) - {""}

    def referred_for(self, principal: Principal) -> set[str]:
        """Return whom the referrals within scope are about."""
        if not principal.may(Right.SEE_REFERRALS):
            return set()
        return {one.submitted.person_id for site, one in self.referrals.values() if principal.sees_site(site)} - {""}

    def sites_for(self, principal: Principal) -> list[screen.Site]:
        """The sites within scope; who sees only some persons there is shown only those beds."""
        names = sorted(self.sites)
        own = {bed.key for bed in self.beds.values() if self.may_see(principal, bed)}
        partly = [reduced_site(self.site_view(name), own) for name in names if sees_partly(principal, name)]
        if principal.sees_own_only or not principal.may(Right.SEE_LINKS):
            return partly
        return [*(self.site_view(name) for name in names if principal.sees_site(name)), *partly]

    def site_view(self, name: str) -> screen.Site:
        """A site with how far each of its beds is."""
        state = self.sites[name]
        return state.view().model_copy(update={"bed_sync": list(self._bed_syncs(state))})

    def _bed_syncs(self, state: SiteState) -> Iterable[screen.BedSync]:
        for key in state.beds:
            bed = self.beds[key]
            address = self.node_at(state.site, bed.bed) if bed.devices else None
            node = state.nodes.get(address.node) if address else None
            if node is not None and node.presence is not None:
                yield bed_sync(key, bed.devices, node.presence, node.presence_ns)

    def alarms_for(self, principal: Principal, now_ns: int) -> list[screen.Alarm]:
        """The alarms this principal may see, newest first; an operator's are the technical ones."""
        seen = [alarm for alarm in self.alarms.values() if _may_see_alarm(principal, alarm)]
        views = [alarm_view(alarm, now_ns) for alarm in sorted(seen, key=lambda one: one.first.onset_unix_ns)][::-1]
        return [reduced_alarm(view) for view in views] if principal.role is Role.CAREGIVER else views

    def referrals_for(self, principal: Principal, now_ns: int) -> list[screen.Referral]:
        """The referrals this principal may see, newest first."""
        if not principal.may(Right.SEE_REFERRALS):
            return []
        seen = [one for one in self.referrals.values() if principal.sees_site(one[0])]
        views = [self.referral_view(site, referral, now_ns) for site, referral in seen]
        return sorted(views, key=lambda view: view.authored_at_ms, reverse=True)

    def referral_view(self, site: str, referral: Referral, now_ns: int) -> screen.Referral:
        """A referral with its patient."""
        return referral_view(referral, site, self.persons.get(referral.submitted.person_id), now_ns)

    def _node(self, node: Node) -> None:
        nodes = self.site(node.site).nodes
        known = nodes.get(node.node)
        if known is None:
            nodes[node.node] = NodeState(node, heard_ns=node.last_arrival_ns)
        else:
            known.node = node
        for code, label in node.beds:
            bed = self._bed(node.site, code)
            bed.label, bed.is_home, bed.limits = label, node.is_home, node.limits

    def _bed(self, site: str, code: str) -> BedState:
        key = bed_key(site, code)
        if key not in self.beds:
            self.beds[key] = BedState(site, code, code)
            self.site(site)
        return self.beds[key]

    def _furnish(self, beds: Iterable[BedState], sites: Collection[str], set_up: SetUp) -> None:
        """Say of these beds, all of the sites, what stands there and who lies there."""
        here: dict[str, set[tuple[str, str, str]]] = {}
        for where, at in self._bed_of_device.items():
            if where[0] in sites:
                here.setdefault(at, set()).add(where)
        cameras = {(one.site, one.node, one.device) for one in set_up.devices if one.has_camera}
        # The first of several stays at a bed counts.
        stays = {(one.site, one.bed): one for one in reversed(set_up.stays)}
        for bed in beds:
            standing = here.get(bed.key, set())
            bed.devices = sorted(device for _, _, device in standing)
            bed.has_camera = not cameras.isdisjoint(standing)
            bed.forget_origins()
            stay = stays.get((bed.site, bed.bed))
            bed.place(set_up.persons.get(stay.person_id) if stay else None, stay.from_ns if stay else 0)

    def _wall_order(self, site: str, nodes: list[Node]) -> list[str]:
        """Keys of a site's beds: as its nodes name them, then those that nobody named."""
        named = [bed_key(site, code) for node in nodes if node.site == site for code, _ in node.beds]
        unnamed = sorted(key for key, bed in self.beds.items() if bed.site == site and key not in named)
        return list(dict.fromkeys((*named, *unnamed)))


def may_see_holder(principal: Principal, site: str, person_id: str) -> bool:
    """True where this principal may see the values of a bed while this person holds it; empty: nobody."""
    return principal.may(Right.SEE_VITALS) and sees_person(principal, site, person_id)


def sees_partly(principal: Principal, site: str) -> bool:
    """True where somebody is shown a site without what is its own: family, and who looks through a broken glass."""
    if principal.sees_own_only:
        return principal.may(Right.SEE_VITALS) and principal.sees_site(site)
    return principal.may(Right.SEE_LINKS) and not principal.sees_site(site) and principal.sees_some_of(site)


def reduced_bed(view: screen.Bed) -> screen.Bed:
    """A bed as a caregiver sees it: their person, without identifiers and notes of the staff."""
    patient = view.patient.model_copy(update={"identifiers": [], "note": ""}) if view.patient else None
    return view.model_copy(update={"patient": patient, "devices": [], "has_camera": False, "unassigned": 0})


def reduced_site(view: screen.Site, own_beds: set[str]) -> screen.Site:
    """A site as a caregiver sees it: its link, and no bed but their own."""
    beds = [key for key in view.beds if key in own_beds]
    synced = [sync.model_copy(update={"stuck": []}) for sync in view.bed_sync if sync.bed_key in own_beds]
    return view.model_copy(update={"beds": beds, "stuck": [], "bed_sync": synced})


def _may_see_alarm(principal: Principal, alarm: Alarm) -> bool:
    first = alarm.first
    return principal.sees_alarm(alarm.site, first.person_id, is_technical=first.technical)

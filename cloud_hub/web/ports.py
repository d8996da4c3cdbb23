"""What the routes ask of the consults, which are a part beside them (decision 36)."""

from typing import Protocol

from telemed.screen import Consult, SignalMessage, SignalView

from cloud_hub.access.rights import Principal
from cloud_hub.errors import CareError


class Calls(Protocol):
    """Beginning and ending consults."""

    def start(self, principal: Principal, bed_key: str, referral_id: str = "") -> Consult:
        """Call the bedside of a bed; raises NotPermitted, NotFound, StepRefused."""

    def end(self, principal: Principal, consult_id: str) -> Consult:
        """End a consult for everybody; raises NotPermitted, NotFound."""


class Signals(Protocol):
    """The signals of pages."""

    def consults(self, principal: Principal) -> list[Consult]:
        """Return the consults that this person's screen shows."""

    def from_page(self, principal: Principal, client: str, view: SignalView) -> None:
        """Take one signal of a page; raises CareError."""

    def refused(self, view: SignalView, error: CareError) -> SignalMessage:
        """Return what a page is told whose signal was refused."""

    def page_gone(self, client: str) -> None:
        """A page closed."""

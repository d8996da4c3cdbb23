"""The embedded broker's door by certificates: who a session is, what it may do, and who is shut out.

amqtt asks for a certificate without demanding one and knows nothing of rights by name, so that the demand stands in
`HardenedBroker`, and who it is and what it may is judged here from the certificate itself: it names region, site and
node, so that no list of users can lag behind.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session
from cryptography import x509

from cloud_hub.access.ca_folder import DENIED
from cloud_hub.access.device_ca import Shown, shown_by
from cloud_hub.broker_rights import User

log = logging.getLogger("cloud_hub.broker")


@dataclass(frozen=True, slots=True)
class Certified:
    """Where the authority's files are, and whose nodes it signs."""

    folder: Path
    region: str


class CertificateAuth(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is untyped
    """Admits whoever has a certificate of the hub's authority that is not revoked."""

    @dataclass
    class Config:
        """Settings of this plug-in."""

        folder: str = ""
        region: str = ""

    async def authenticate(self, *, session: Session) -> bool:
        """Return whether this session may connect; its user is its certificate's from here on."""
        shown = shown_of(session, self.config.region)
        name = shown.name if shown is not None else None
        denied = denied_in(Path(self.config.folder))
        is_now = shown is not None and shown.serial not in denied and datetime.now(UTC) <= shown.ends
        # A session that is taken up again would keep the certificate of the connection before.
        is_fit = session.clean_session and not session.will_flag
        session.username = name
        return bool(is_now and is_fit and (session.client_id or "").startswith(f"{name}."))


class CertificateAcl(BaseTopicPlugin):  # type: ignore[misc]  # amqtt is untyped
    """Keeps each node to its own topics, in all three directions."""

    @dataclass
    class Config:
        """Settings of this plug-in."""

        region: str = ""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Return whether the session may do `action` on `topic`."""
        shown = shown_of(session, self.config.region) if session is not None else None
        if shown is None or not topic:
            return False
        user = User(shown.name, b"", shown.address)
        allowed = user.may_publish(topic) if action == Action.PUBLISH else user.may_read(topic)
        if not allowed and action != Action.RECEIVE:
            log.warning("topic-refused user=%s action=%s", user.name, action)
        return allowed


def plugins(certified: Certified) -> dict[str, dict[str, Any]]:
    """Return amqtt's configuration of the plug-ins."""
    here = f"{CertificateAuth.__module__}."
    return {
        here + CertificateAuth.__name__: {"folder": str(certified.folder), "region": certified.region},
        here + CertificateAcl.__name__: {"region": certified.region},
    }


def shown_of(session: Session, region: str) -> Shown | None:
    """Return who holds a session; None where its connection shows nobody of this region."""
    if session.ssl_object is None:
        return None
    try:
        der = session.ssl_object.getpeercert(binary_form=True)
    except ValueError:
        return None
    return _shown(der, region) if der else None


def denied_in(folder: Path) -> frozenset[str]:
    """Return the serial numbers that the hub has written down as revoked."""
    try:
        return frozenset((folder / DENIED).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return frozenset()


@lru_cache(4096)
def _shown(der: bytes, region: str) -> Shown | None:
    try:
        return shown_by(x509.load_der_x509_certificate(der), region)
    except ValueError:
        return None

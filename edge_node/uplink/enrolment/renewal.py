"""Renews the node's certificate at two thirds of its life, and after its end: care and buffer go on meanwhile."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import BACK_DATED, RENEWAL, Refusal, node_of, renew_at, sign
from telemed.v1 import enrolment_pb2

from edge_node.buffer.clock import boottime_ns
from edge_node.errors import UNPROVED, ConfigRefused, EnrolmentFailed
from edge_node.uplink.certificates import CertificateFolder, request_for
from edge_node.uplink.enrolment.door import Door

LOOK_EVERY_S = 60.0
RETRY_S = 60.0
"""After a failure; a node whose certificate has ended can do nothing else for its hub."""
LOOKS_IN_A_LIFE = 60
UNSURE_FOR_S = 300.0
"""So long without the hub's time, and the node asks the door: its clock may be wrong and its certificate have ended."""
HOPELESS = frozenset(
    {
        Refusal.CERTIFICATE_UNKNOWN,
        Refusal.CERTIFICATE_REVOKED,
        Refusal.CERTIFICATE_TOO_OLD,
        Refusal.RENEWED_ELSEWHERE,
        Refusal.NAME_TAKEN,
        UNPROVED,
    }
)
"""What only a person helps after: refusals, and another authority at the hub's door."""
ENDED = "ended"
NS = 10**9

Renew = Callable[[bytes, bytes, bytes], enrolment_pb2.Issued]
log = structlog.get_logger(__name__)


class HearsTime(Protocol):
    """What is told the hub's time."""

    def now_ns(self) -> int:
        """Return the node's time."""

    def hub_offset_ms(self) -> int | None:
        """Return how far the hub's clock is ahead of the machine's; None while the hub was not heard."""

    def hear(self, ahead_ns: int, error_ns: int, at_ns: int) -> None:
        """Take in what the hub's clock showed."""


class Renewer:
    """Keeps the certificate of a node current."""

    def __init__(
        self,
        folder: CertificateFolder,
        clock: HearsTime,
        renew: Renew | None = None,
        steady_ns: Callable[[], int] = boottime_ns,
    ) -> None:
        """Ask nobody yet.

        Args:
            folder: where the certificate is.
            clock: the node's clock; told the hub's time with each answer.
            renew: asks the hub, blocking; the door that the folder names when not given.
            steady_ns: a clock that never steps.
        """
        self._folder, self._clock = folder, clock
        self._renew = renew or self._ask_door
        self._steady_ns = steady_ns
        self._unsure_since_ns = steady_ns()
        self._refused = ""
        self._is_failing = False

    @property
    def trouble(self) -> str:
        """Why the node has no good certificate, or soon will have none; empty where it has and may renew it.

        One of `HOPELESS`, which counts also while the certificate in hand lasts, or `ENDED`.
        """
        if self._refused in HOPELESS:
            return self._refused
        ends = self._folder.latest().certificate.not_valid_after_utc
        return ENDED if self._now() > ends else ""

    async def run(self) -> None:
        """Renew whenever it is time, until cancelled; logs the first failure and the recovery."""
        while True:
            wait_s = await self.step()
            await asyncio.sleep(wait_s)

    async def step(self) -> float:
        """Renew if it is time; return how long to wait before the next look, seconds."""
        certificate = self._folder.latest().certificate
        life_s = (certificate.not_valid_after_utc - certificate.not_valid_before_utc - BACK_DATED).total_seconds()
        often_s = min(LOOK_EVERY_S, life_s / LOOKS_IN_A_LIFE)
        if self._now() < renew_at(certificate) and not self._is_unsure():
            # Also where another was put in place by hand: what was refused before is no longer so.
            self._went_well()
            return often_s
        try:
            await asyncio.to_thread(self.renew)
        except (EnrolmentFailed, ConfigRefused, OSError, ValueError) as failure:
            self._failed(failure)
            return min(RETRY_S, often_s)
        self._unsure_since_ns = self._steady_ns()
        self._went_well()
        return often_s

    def renew(self) -> None:
        """Fetch the next certificate and put it in place; blocking.

        Raises:
            EnrolmentFailed: the hub refuses, cannot be reached, or answers with something else.
            ConfigRefused: the certificate in hand cannot be read.
            OSError: the next one cannot be stored.
        """
        held, key = self._folder.read(), self._folder.next_key()
        request = request_for(key, held.address.node)
        asked_ns = boottime_ns()
        shown = held.certificate.public_bytes(Encoding.DER)
        issued = self._renew(shown, request, sign(held.key, RENEWAL, request))
        heard_ns = boottime_ns()
        certificate = x509.load_der_x509_certificate(issued.certificate_der)
        if node_of(certificate) != held.address or certificate.public_key() != key.public_key():
            raise EnrolmentFailed("answer", "the hub's answer is not a certificate of this node")
        self._folder.take(key, certificate, list(issued.trust_der))
        middle_ns = (asked_ns + heard_ns) // 2
        self._clock.hear(issued.hub_unix_ns - middle_ns, heard_ns - asked_ns, middle_ns)
        log.info("certificate.renewed", until=certificate.not_valid_after_utc.isoformat())

    def _is_unsure(self) -> bool:
        """Return whether the node's time may be wrong and nobody told it for long: then it says nothing of the end."""
        if self._clock.hub_offset_ms() is not None:
            return False
        return self._steady_ns() - self._unsure_since_ns >= UNSURE_FOR_S * NS

    def _went_well(self) -> None:
        if self._is_failing:
            log.info("certificate.recovered")
        self._refused, self._is_failing = "", False

    def _failed(self, failure: Exception) -> None:
        reason = failure.reason if isinstance(failure, EnrolmentFailed) else type(failure).__name__
        if not self._is_failing or reason != self._refused:
            log.warning("certificate.not-renewed", reason=reason, text=str(failure))
        self._refused, self._is_failing = reason, True

    def _ask_door(self, certificate_der: bytes, request_der: bytes, signature: bytes) -> enrolment_pb2.Issued:
        host, port = self._folder.door()
        return Door(host, port, self._folder.read().trust_pem).renew(certificate_der, request_der, signature)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ns() / NS, UTC)

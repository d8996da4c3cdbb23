"""Stable error codes that travel between edge, hub and screens, and failures of the wire format.

Tree::

    WireError                 a container that cannot be read
      ContainerUnreadable     its head is damaged: identity unknown, dead-lettered by hash
      ContainerTooLarge       over a limit: refused before it is unpacked
    PayloadUnreadable         the head is sound, one payload is not: dead-lettered by its identity
"""

from enum import StrEnum


class Code(StrEnum):
    """Codes stored in rows, sent in events and shown (translated) on screens; never reworded."""

    REFUSED_ILLEGAL_STATE = "refused-illegal-state"
    REFUSED_VERSION = "refused-version"
    REFUSED_RIGHTS = "refused-rights"
    REFUSED_UNKNOWN_AGGREGATE = "refused-unknown-aggregate"
    PAYLOAD_UNREADABLE = "payload-unreadable"
    CONTAINER_UNREADABLE = "container-unreadable"
    SCHEMA_UNKNOWN = "schema-unknown"
    KEY_CONFLICT = "key-conflict"
    RECORDS_LOST = "records-lost"
    RECORDS_DIFFER = "records-differ"
    RECORDS_OPEN = "records-open"
    RECORDS_DAMAGED = "records-damaged"
    WAVE_LENGTH = "wave-length"
    NO_VALUES = "no-values"
    KIND_UNKNOWN = "kind-unknown"
    POISON = "poison"
    TOO_LARGE = "too-large"
    SEQ_JUMP = "seq-jump"
    IDENTITY_MISMATCH = "identity-mismatch"
    IDENTITY_UNKNOWN = "identity-unknown"
    DEVICE_UNKNOWN = "device-unknown"
    CLOCK_SUSPECT = "clock-suspect"
    STORE_FULL = "store-full"
    STORE_NEARLY_FULL = "store-nearly-full"
    STORE_DAMAGED = "store-damaged"
    STORE_NEWER = "store-newer"
    STORE_LOCKED = "store-locked"
    DATA_SHED = "data-shed"
    DATA_DAMAGED = "data-damaged"
    DATA_COPY_GONE = "data-copy-gone"
    EPOCH_LOST = "epoch-lost"
    HUB_STORE_FULL = "hub-store-full"
    HUB_LOST_HISTORY = "hub-lost-history"
    NODE_CLOCK = "node-clock"
    NODE_CLOCK_SET = "node-clock-set"
    TOPIC_REFUSED = "topic-refused"
    CONNECT_REFUSED = "connect-refused"
    NODE_TAKEN_OVER = "node-taken-over"
    NODE_CLONED = "node-cloned"
    NODE_SECOND = "node-second"
    STORE_SET_BACK = "store-set-back"
    CERTIFICATE_ENDED = "certificate-ended"
    HUB_UNPROVED = "hub-unproved"
    CERTIFICATE_REFUSED = "certificate-refused"
    CONFIG_REFUSED = "config-refused"
    BROKER_SILENT = "broker-silent"
    AUDIT_BROKEN = "audit-broken"
    HUB_AUDIT_DIFFERS = "hub-audit-differs"
    MESSAGE_UNREADABLE = "message-unreadable"
    MESSAGE_REFUSED = "message-refused"
    FIELD_ERROR = "field-error"
    NOTHING_MEASURED = "nothing-measured"
    MEASURE_UNKNOWN = "measure-unknown"
    TOO_MANY_OPEN = "too-many-open"
    CHUNK_CORRUPT = "chunk-corrupt"
    FILE_MISMATCH = "file-mismatch"
    FILE_CHANGED = "file-changed"
    OFFER_REFUSED = "offer-refused"
    TRANSFER_UNKNOWN = "transfer-unknown"
    LINK_DOWN = "link-down"
    BUDGET_USED = "budget-used"
    OUTSIDE_HOURS = "outside-hours"
    IDENTITY_REFUSED = "identity-refused"
    STUDY_UNASSIGNED = "study-unassigned"
    IMAGES_DIFFER = "images-differ"
    IMAGES_REFUSED = "images-refused"
    IMAGES_CLOSED = "images-closed"
    BUNDLE_REFUSED = "bundle-refused"


class CertificateUnusable(Exception):
    """The files of a certificate cannot be read or do not belong together; the message says which and why."""


class WireError(Exception):
    """Base of what can be wrong with bytes that came over the wire."""

    code: Code


class ContainerUnreadable(WireError):
    """The head of a container is damaged, so that its records cannot even be counted."""

    code = Code.CONTAINER_UNREADABLE


class ContainerTooLarge(WireError):
    """A container or a payload is larger than the limits of the wire format allow."""

    code = Code.TOO_LARGE


class PayloadUnreadable(WireError):
    """The identity of a record is known, its payload cannot be decoded."""

    code = Code.PAYLOAD_UNREADABLE

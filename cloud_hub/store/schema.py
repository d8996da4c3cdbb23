"""Tables of the hub's two databases (SQLAlchemy Core); region and site stand on every row that has an owner.

Times are integers, nanoseconds since the Unix epoch, UTC.  Identifiers born elsewhere are UUIDv7 as text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SAMPLES = MetaData(naming_convention=NAMING)
"""Measurements as received: the hot path."""
CARE = MetaData(naming_convention=NAMING)
"""Events, persons, alarms, accounts: what people decided."""

MARK = "what the nightly comparison knows it by, once words were taken out; NULL = as received"
RowId = BigInteger().with_variant(Integer, "sqlite")


def _stream_table(metadata: MetaData) -> Table:
    return Table(
        "stream",
        metadata,
        Column("id", RowId, primary_key=True, autoincrement=True),
        Column("region", String(40), nullable=False),
        Column("site", String(40), nullable=False),
        Column("node", String(40), nullable=False),
        Column("name", String(120), nullable=False, comment="<device>/<kind>, unique within the node"),
        Column("device", String(40), nullable=False),
        Column("first_seen_ns", BigInteger, nullable=False),
        UniqueConstraint("region", "site", "node", "name"),
        Index(None, "site"),
    )


def _watermark_table(metadata: MetaData) -> Table:
    return Table(
        "watermark",
        metadata,
        Column("stream_id", RowId, primary_key=True),
        Column("epoch", String(16), primary_key=True, comment="64 bits as 16 hex digits: no signed overflow"),
        Column("contig", BigInteger, nullable=False),
        Column("max", BigInteger, nullable=False),
        Column("gaps", Text, nullable=False, default="[]", comment="JSON [[first, last], ...], at most 1000 runs"),
        Column("quarantined", Boolean, nullable=False, default=False, comment="a jump of over 10^6 numbers"),
        Column("updated_ns", BigInteger, nullable=False),
    )


def _dead_letter_table(metadata: MetaData) -> Table:
    return Table(
        "dead_letter",
        metadata,
        Column("id", RowId, primary_key=True, autoincrement=True),
        Column("region", String(40), nullable=False),
        Column("site", String(40), nullable=False),
        Column("node", String(40), nullable=False),
        Column("stream", String(120), nullable=False, default=""),
        Column("epoch", String(16), nullable=False, default=""),
        Column("seq", BigInteger, nullable=False, default=0),
        Column("digest", String(64), nullable=False, comment="SHA-256 of the raw bytes"),
        Column("reason", String(40), nullable=False),
        Column("raw", LargeBinary, nullable=False),
        Column("first_seen_ns", BigInteger, nullable=False),
        Column("n", Integer, nullable=False, default=1),
        Column("mark", LargeBinary, comment=MARK),
        UniqueConstraint("region", "site", "node", "stream", "epoch", "seq", "digest"),
    )


def _reconciled_table(metadata: MetaData) -> Table:
    return Table(
        "reconciled",
        metadata,
        Column("stream_id", RowId, primary_key=True, autoincrement=False),
        Column("epoch", String(16), primary_key=True),
        Column("verified_to", BigInteger, nullable=False, comment="every number up to here was looked at once"),
    )


def _reopened_table(metadata: MetaData) -> Table:
    return Table(
        "reopened",
        metadata,
        Column("run_id", String(36), primary_key=True),
        Column("stream_id", RowId, primary_key=True, autoincrement=False),
        Column("epoch", String(16), primary_key=True),
        Column("first", BigInteger, primary_key=True, autoincrement=False),
        Column("last", BigInteger, nullable=False),
    )


def _shed_table(metadata: MetaData) -> Table:
    return Table(
        "shed",
        metadata,
        Column("stream_id", RowId, primary_key=True),
        Column("epoch", String(16), primary_key=True),
        Column("first", BigInteger, primary_key=True),
        Column("last", BigInteger, primary_key=True),
        Column("reason", String(20), nullable=False, comment="telemed.shed.Reason"),
        Column("reduced_to", String(120), nullable=False, comment="stream that holds what is left; empty = nothing"),
        Column("from_ns", BigInteger, nullable=False, comment="when the first came in, edge clock; 0 = unknown"),
        Column("to_ns", BigInteger, nullable=False),
        Column("missing", BigInteger, nullable=False, comment="how many of them the hub did not have"),
        Column("declared_ns", BigInteger, nullable=False, comment="when the hub was told"),
    )


samples_reconciled, samples_reopened = _reconciled_table(SAMPLES), _reopened_table(SAMPLES)
samples_stream = _stream_table(SAMPLES)
samples_watermark = _watermark_table(SAMPLES)
samples_dead_letter = _dead_letter_table(SAMPLES)
samples_shed = _shed_table(SAMPLES)
"""Numbers that their node declared given up or damaged: accounted for, and no loss on the way."""

record = Table(
    "record",
    SAMPLES,
    Column("stream_id", RowId, nullable=False),
    Column("epoch", String(16), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("edge_day", Integer, nullable=False, comment="day of the record's own stamp, days since 1970, UTC"),
    Column("kind", Integer, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("crc", BigInteger, nullable=False),
    Column("wall_ns", BigInteger, nullable=False),
    Column("mono_ns", BigInteger, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("offset_ms", Integer, nullable=False),
    Column("offset_error_ms", BigInteger, nullable=False),
    Column("measured_ns", BigInteger, nullable=False, comment="measurement time of the payload; wall_ns if unreadable"),
    Column("received_ns", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="packed, exactly as received"),
    Column(
        "shift_ns",
        BigInteger,
        server_default="0",
        comment="measured_ns has it in; 0 = right as it came; NULL = its boot's clock is not known yet",
    ),
    UniqueConstraint("stream_id", "epoch", "seq", "edge_day"),
    Index(None, "stream_id", "measured_ns"),
    Index(
        None,
        "boot",
        "stream_id",
        sqlite_where=text("shift_ns IS NULL"),
        postgresql_where=text("shift_ns IS NULL"),
    ),
)
"""One row a record.  On PostgreSQL partitioned by edge_day with a DEFAULT partition for wrong clocks."""

boot_clock = Table(
    "boot_clock",
    SAMPLES,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    Column("ahead_ns", BigInteger, nullable=False, comment="hub's clock minus the node's CLOCK_BOOTTIME"),
    Column("error_ms", BigInteger, nullable=False, comment="one-sided bound of that, at mono_ns"),
    Column("mono_ns", BigInteger, nullable=False, comment="CLOCK_BOOTTIME of the record that told it"),
)
"""The clock of each boot of a node, as the first record with a good offset told it."""

trend = Table(
    "trend",
    SAMPLES,
    # The minute before the measure: an hour of a stream lies together, however many days of it are stored.
    Column("stream_id", RowId, primary_key=True),
    Column("minute", Integer, primary_key=True, comment="minutes since 1970, UTC, of the measurement time"),
    Column("measure", String(20), primary_key=True),
    Column("n", Integer, nullable=False),
    Column("low", String(24), nullable=False),
    Column("high", String(24), nullable=False),
    Column("last", String(24), nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Minute roll-up of valid numerics for trends over hours and days; derived, can be rebuilt from `record`."""

trend_cursor = Table(
    "trend_cursor",
    SAMPLES,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("arrival", BigInteger, nullable=False, comment="all sets up to this arrival are in the minutes"),
)
"""One row: how far `trend` has come.  Arrivals are numbered by rowid on SQLite, by a sequence on PostgreSQL."""

care_stream = _stream_table(CARE)
care_watermark = _watermark_table(CARE)
care_dead_letter = _dead_letter_table(CARE)
care_shed = _shed_table(CARE)

care_record = Table(
    "care_record",
    CARE,
    Column("stream_id", RowId, primary_key=True),
    Column("epoch", String(16), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("crc", BigInteger, nullable=False),
    Column("wall_ns", BigInteger, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("codec", Integer, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("mark", LargeBinary, comment=MARK),
)
"""Alarm and care records as received; `event` and `alarm` below are what was made of them in the same transaction."""

event = Table(
    "event",
    CARE,
    Column("region", String(40), nullable=False),
    Column("site", String(40), primary_key=True),
    Column("site_seq", BigInteger, primary_key=True, comment="1, 2, 3 ... per site: the order that the hub decided"),
    Column("event_id", String(36), nullable=False),
    Column("aggregate_type", String(20), nullable=False),
    Column("aggregate_id", String(64), nullable=False),
    Column("version", Integer, nullable=False, comment="of the aggregate after this event"),
    Column("refused", Boolean, nullable=False, default=False),
    Column("refusal", String(40), nullable=False, default=""),
    Column("at_ns", BigInteger, nullable=False, comment="when its author made it"),
    Column("received_ns", BigInteger, nullable=False, comment="when the hub ordered it"),
    Column("author", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False, comment="telemed.v1.Event"),
    UniqueConstraint("event_id"),
    Index(None, "aggregate_type", "aggregate_id", "version"),
)

person = Table(
    "person",
    CARE,
    Column("person_id", String(36), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("family_name", String(80), nullable=False),
    Column("given_name", String(80), nullable=False),
    Column("name_en", String(160), nullable=False, default=""),
    Column("gender", String(10), nullable=False),
    Column("birth_date", String(10), nullable=False, default=""),
    Column("identifiers", Text, nullable=False, default="[]", comment="JSON [{system, value}]"),
    Column("phone", String(40), nullable=False, default=""),
    Column("caregiver", String(64), nullable=False, default=""),
    Column("caregiver_calls", String(40), nullable=False, default=""),
    Column("allergies", Text, nullable=False, default=""),
    Column("note", Text, nullable=False, default=""),
    Column("updated_ns", BigInteger, nullable=False),
    Index(None, "site"),
)

bed_stay = Table(
    "bed_stay",
    CARE,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("bed", String(20), nullable=False),
    Column("person_id", String(36), nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=True, comment="NULL while the person lies there"),
    Column("episode_class", String(12), nullable=False),
    Column("event_id", String(36), nullable=False),
    Index(None, "site", "bed", "from_ns"),
    Index(None, "person_id"),
    Index(
        "ix_bed_stay_open",
        "region",
        "site",
        sqlite_where=text("to_ns IS NULL"),
        postgresql_where=text("to_ns IS NULL"),
    ),
)

device = Table(
    "device",
    CARE,
    Column("region", String(40), nullable=False),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("device", String(40), primary_key=True),
    Column("eui64", String(16), nullable=False, default=""),
    Column("model", String(120), nullable=False, default=""),
    Column("family", String(40), nullable=False, default=""),
    Column("has_camera", Boolean, nullable=False, default=False),
    Column("updated_ns", BigInteger, nullable=False),
)

device_place = Table(
    "device_place",
    CARE,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("node", String(40), nullable=False),
    Column("device", String(40), nullable=False),
    Column("bed", String(20), nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=True),
    Index(None, "site", "bed"),
    Index(None, "site", "node", "device"),
)

alarm = Table(
    "alarm",
    CARE,
    Column("alarm_id", String(36), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("node", String(40), nullable=False),
    Column("bed", String(20), nullable=False),
    Column("device", String(40), nullable=False),
    Column("person_id", String(36), nullable=False, default=""),
    Column("condition", String(40), nullable=False),
    Column("technical", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("onset_ns", BigInteger, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("is_latched", Boolean, nullable=False),
    Column("is_resolved", Boolean, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Index(None, "site", "is_resolved", "is_active"),
    Index(None, "person_id"),
)
"""Head of each alarm, folded from its steps."""

untimed_step = Table(
    "untimed_step",
    CARE,
    Column("alarm_id", String(36), primary_key=True),
    Column("alarm_seq", Integer, primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("node", String(40), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("wall_ns", BigInteger, nullable=False, comment="of the record, on the node's clock"),
    Column("mono_ns", BigInteger, nullable=False, comment="of the record, CLOCK_BOOTTIME of the node"),
)
"""Steps whose times wait until the clock of their boot is known."""

alarm_step = Table(
    "alarm_step",
    CARE,
    Column("alarm_id", String(36), primary_key=True),
    Column("alarm_seq", Integer, primary_key=True),
    Column("phase", Integer, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="telemed.v1.AlarmEvent"),
)

node = Table(
    "node",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("name_zh", String(80), nullable=False),
    Column("name_en", String(80), nullable=False),
    Column("phone", String(40), nullable=False, default=""),
    Column("is_home", Boolean, nullable=False, default=False),
    Column("beds", Text, nullable=False, default="[]", comment="JSON [{bed, label}] in the order of the wall"),
    Column("limits", Text, nullable=False, default="[]", comment="JSON [{measure, low, high}] of the node's alarms"),
    Column("event_cursor", BigInteger, nullable=False, default=0),
    Column("last_arrival_ns", BigInteger, nullable=False, default=0),
)

account = Table(
    "account",
    CARE,
    Column("username", String(64), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("name_zh", String(80), nullable=False),
    Column("name_en", String(80), nullable=False),
    Column("sites", Text, nullable=False, default="[]", comment="JSON list; empty = all of the region for a physician"),
    Column("password_hash", String(255), nullable=False, comment="argon2id in PHC form"),
    Column("scopes", Text, nullable=False, default="[]", comment="JSON list; for programs"),
    Column("redirects", Text, nullable=False, default="[]", comment="JSON list; where a program may get a code sent"),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("updated_ns", BigInteger, nullable=False),
    Column("password_by", String(10), nullable=False, server_default="file", comment="file, operator or oneself"),
    Column("password_ns", BigInteger, nullable=False, server_default="0"),
)

care_team = Table(
    "care_team",
    CARE,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("person_id", String(36), nullable=False),
    Column("username", String(64), nullable=False),
    Column("added_by", String(64), nullable=False),
    Column("since_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=True, comment="NULL while it lasts"),
    Index(None, "username"),
    Index(None, "person_id"),
)

referral_head = Table(
    "referral_head",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("referral_id", String(64), primary_key=True),
    Column("site", String(40), nullable=False),
    Column("person_id", String(36), nullable=False),
    Column("state", String(20), nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Index(None, "region", "state"),
    Index(None, "person_id"),
)
"""Whom each referral is about and how far it is, folded from its events: an open one is a treating relation."""

consent = Table(
    "consent",
    CARE,
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("person_id", String(36), primary_key=True),
    Column("purpose", String(4), primary_key=True, comment="C1 to C9 of clinical 9.4"),
    Column("grantee", String(64), primary_key=True, comment="whose access; empty where the purpose names nobody"),
    Column("is_given", Boolean, nullable=False),
    Column("until_ns", BigInteger, nullable=False, comment="0: until it is withdrawn"),
    Column("updated_ns", BigInteger, nullable=False),
    Index(None, "region", "purpose", "grantee"),
)
"""Who agreed to what, folded from the events of consent."""

totp = Table(
    "totp",
    CARE,
    Column("username", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False, comment="secret under the hub's key"),
    Column("is_confirmed", Boolean, nullable=False),
    Column("last_step", BigInteger, nullable=False, comment="a code counts once"),
    Column("updated_ns", BigInteger, nullable=False),
)
"""Authenticator apps."""

recovery_code = Table(
    "recovery_code",
    CARE,
    Column("username", String(64), primary_key=True),
    Column("code_hash", String(64), primary_key=True, comment="SHA-256; deleted when used"),
)

passkey = Table(
    "passkey",
    CARE,
    Column("key_id", String(64), primary_key=True, comment="SHA-256 of the credential's id"),
    Column("username", String(64), nullable=False),
    Column("credential_id", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False, comment="COSE"),
    Column("sign_count", BigInteger, nullable=False, comment="0 where the key does not count"),
    Column("user_handle", LargeBinary, nullable=False, comment="the account as the key knows it: random"),
    Column("name", String(80), nullable=False),
    Column("transports", Text, nullable=False, default="[]", comment="JSON list, as the browser told"),
    Column("made_ns", BigInteger, nullable=False),
    Column("used_ns", BigInteger, nullable=True),
    Index(None, "username"),
)
"""Passkeys and security keys (WebAuthn)."""

identity = Table(
    "identity",
    CARE,
    Column("issuer", String(200), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("username", String(64), nullable=False),
    Column("is_mapped", Boolean, nullable=False, comment="role and sites follow the provider's claims"),
    Column("made_ns", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False, comment="when they last came in by the provider"),
    Index(None, "username"),
)
"""Who somebody is at an identity provider."""

display = Table(
    "display",
    CARE,
    Column("display_id", String(36), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("name", String(80), nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("made_ns", BigInteger, nullable=False),
    Column("code_hash", String(64), nullable=False, comment="SHA-256 of the pairing code; empty once used"),
    Column("code_until_ns", BigInteger, nullable=False),
    Column("paired_ns", BigInteger, nullable=True),
    Column("revoked_ns", BigInteger, nullable=True),
    Index(None, "code_hash"),
)
"""Wall displays."""

break_glass = Table(
    "break_glass",
    CARE,
    Column("break_id", String(36), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("person_id", String(36), nullable=False),
    Column("username", String(64), nullable=False),
    Column("role", String(20), nullable=False),
    Column("reason_code", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("opened_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("due_ns", BigInteger, nullable=False, comment="when the review must be done"),
    Column("is_renewed", Boolean, nullable=False, default=False),
    Column("reviewed_by", String(64), nullable=False, default=""),
    Column("reviewed_ns", BigInteger, nullable=True),
    Column("verdict", String(20), nullable=False, default=""),
    Column("review_text", Text, nullable=False, default=""),
    Index(None, "username", "until_ns"),
)
"""Records opened in an emergency; each is reviewed."""

break_notice = Table(
    "break_notice",
    CARE,
    Column("break_id", String(36), primary_key=True),
    Column("username", String(64), primary_key=True),
    Column("seen_ns", BigInteger, nullable=True),
    Index(None, "username"),
)
"""Who is to be told of an opening."""

session = Table(
    "session",
    CARE,
    Column("token_hash", String(64), primary_key=True, comment="SHA-256 of the cookie or bearer token"),
    Column("kind", String(10), nullable=False, comment="cookie, bearer or code"),
    Column("username", String(64), nullable=False),
    Column("scopes", Text, nullable=False, default="[]"),
    Column("csrf_token", String(64), nullable=False, default=""),
    Column("created_ns", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("extra", Text, nullable=False, default="{}", comment="JSON; PKCE challenge and redirect of a code"),
)

notice = Table(
    "notice",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("code", String(40), primary_key=True),
    Column("since_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("hub_schema", Integer, nullable=False, comment="newest record schema that the hub could read"),
)
"""What the operator must look at, until it is over."""

audit = Table(
    "audit",
    CARE,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("role", String(20), nullable=False),
    Column("action", String(40), nullable=False),
    Column("object", String(120), nullable=False),
    Column("result", String(40), nullable=False),
    Column("region", String(40), nullable=False, default=""),
    Column("site", String(40), nullable=False, default=""),
    Column("prev_hash", String(64), nullable=False, default=""),
    Column("hash", String(64), nullable=False, default=""),
    Index(None, "at_ns"),
    Index(None, "object"),
)
"""The hub's audit trail; append-only.  `audit_trail` gives `id` 1, 2, 3 ... without a hole, and links the rows."""

audit_chain = Table(
    "audit_chain",
    CARE,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("trail", String(32), nullable=False, comment="name of the trail"),
    Column("n", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)
"""One row: the last entry of `audit`; on PostgreSQL whoever appends holds its lock."""

audit_head = Table(
    "audit_head",
    CARE,
    Column("trail", String(32), primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
    Index(None, "at_ns", "n"),
)
"""Signed heads of `audit`; append-only."""

edge_trail = Table(
    "edge_trail",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("trail", String(32), primary_key=True),
    Column("began_ns", BigInteger, nullable=False, comment="when the first entry of it arrived"),
    Column("key", String(64), nullable=False, default="", comment="that signed its first head; no other counts"),
    Column("n", BigInteger, nullable=False, default=0, comment="verified from 1 up to here"),
    Column("hash", String(64), nullable=False),
    Column("fault", String(40), nullable=False, default="", comment="what was found on arrival, the first of it"),
    Column("fault_n", BigInteger, nullable=False, default=0),
)
"""How far the trail of each node was followed as it came in."""

edge_audit = Table(
    "edge_audit",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("trail", String(32), primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(64), primary_key=True, comment="two versions of an entry are both kept"),
    Column("prev_hash", String(64), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("role", String(20), nullable=False),
    Column("action", String(40), nullable=False),
    Column("object", String(120), nullable=False),
    Column("result", String(40), nullable=False),
    Column("entry_region", String(40), nullable=False, comment="as the node wrote it"),
    Column("entry_site", String(40), nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Index(None, "region", "at_ns"),
    Index(None, "object"),
)
"""Entries of the nodes' trails, as they came; append-only."""

edge_head = Table(
    "edge_head",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("trail", String(32), primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("signature", String(128), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("received_ns", BigInteger, nullable=False),
)
"""Signed heads of the nodes' trails: anchors against a node that rewrites its past; append-only."""

transfer = Table(
    "transfer",
    CARE,
    Column("transfer_id", String(36), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("node", String(40), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("manifest_sha256", String(64), nullable=False, comment="of all chunk hashes put together"),
    Column("kind", String(10), nullable=False),
    Column("name", String(200), nullable=False, comment="for people; never a path"),
    Column("group_id", String(64), nullable=False, default=""),
    Column("is_preview", Boolean, nullable=False, default=False),
    Column("state", String(10), nullable=False, comment="receiving, complete, refused or withdrawn"),
    Column("code", String(40), nullable=False, default="", comment="why it was refused"),
    Column(
        "chunk_hashes", LargeBinary, nullable=False, comment="32 bytes a chunk; empty until sent, and once complete"
    ),
    Column(
        "have", LargeBinary, nullable=False, comment="bitmap of chunks that are synced to disk; empty once complete"
    ),
    Column("corrupt", Text, nullable=False, default="{}", comment="JSON {chunk: how often it did not match its hash}"),
    Column("offered_ns", BigInteger, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Column("completed_ns", BigInteger, nullable=False, default=0),
    UniqueConstraint("region", "site", "node", "sha256", "group_id"),
    Index(None, "region", "site", "sha256"),
    Index(None, "region", "site", "group_id"),
    Index(None, "state", "updated_ns"),
)
"""A file that a node sends or has sent; the same content in two groups is two rows and one blob."""

blob = Table(
    "blob",
    CARE,
    Column("sha256", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("chunk_hashes", LargeBinary, nullable=False, comment="32 bytes a chunk"),
    Column("stored_ns", BigInteger, nullable=False),
)
"""Content that lies whole and synced in the blob folder; who may see it is said by `transfer` and `release`."""

release = Table(
    "release",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("node", String(40), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("name", String(200), nullable=False),
    Column("released_ns", BigInteger, nullable=False),
    Column("held_ns", BigInteger, nullable=False, default=0, comment="when the node first said that it has it whole"),
)
"""A blob that a node may fetch."""

finding_review = Table(
    "finding_review",
    CARE,
    Column("review_id", String(36), primary_key=True, comment="made by the page of whoever says it"),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("study_key", String(64), nullable=False),
    Column("sop_uid", String(64), nullable=False, comment="of the report"),
    Column("sha256", String(64), nullable=False, comment="of the very bytes of the report"),
    Column("finding_uid", String(64), nullable=False, comment="tracking UID"),
    Column("version", Integer, nullable=False, comment="1, 2, 3 ... for each finding"),
    Column("verdict", String(10), nullable=False, comment="accepted, edited, rejected or reopened"),
    Column("reason", String(20), nullable=False, comment="why it was rejected; else empty"),
    Column("said", Text, nullable=False, comment="JSON, what it is instead; empty where it was not edited"),
    Column("told", Text, nullable=False, comment="JSON, what the model said of it"),
    Column("task", String(40), nullable=False),
    Column("task_version", String(40), nullable=False),
    Column("bundle_sha256", String(64), nullable=False),
    Column("findings", Integer, nullable=False, comment="how many the report has"),
    Column("username", String(64), nullable=False),
    Column("role", String(20), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    UniqueConstraint("study_key", "sha256", "finding_uid", "version"),
)
"""What physicians said of findings of models; rows are added, and deleted by an erasure alone."""

care_reconciled, care_reopened = _reconciled_table(CARE), _reopened_table(CARE)

reconciliation = Table(
    "reconciliation",
    CARE,
    Column("run_id", String(36), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("node", String(40), nullable=False),
    Column("reason", String(10), nullable=False, comment="nightly or asked"),
    Column("state", String(10), nullable=False, comment="running, finished or broken"),
    Column("began_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger, nullable=False, default=0),
    Column("streams", Integer, nullable=False, default=0),
    Column("compared", BigInteger, nullable=False, default=0),
    Column("healed", BigInteger, nullable=False, default=0),
    Column("open", BigInteger, nullable=False, default=0),
    Column("lost", BigInteger, nullable=False, default=0),
    Column("conflicts", BigInteger, nullable=False, default=0),
    Column("damaged", BigInteger, nullable=False, default=0),
    Column(
        "by_stream", Text, nullable=False, default="{}", comment="JSON {stream: {what: count}}, what is not well only"
    ),
    Index(None, "site", "node", "began_ns"),
)
"""A comparison of what a node still holds with what is stored here."""

node_token = Table(
    "node_token",
    CARE,
    Column("secret_sha256", String(64), primary_key=True, comment="the secret itself is kept nowhere"),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("node", String(40), nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("ends_ns", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("key_sha256", String(64), nullable=False, default="", comment="bound to at first use; empty before"),
)
"""Tokens by which nodes are let in."""

node_certificate = Table(
    "node_certificate",
    CARE,
    Column("serial", String(48), primary_key=True, comment="hex digits"),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("node", String(40), nullable=False),
    Column("key_sha256", String(64), nullable=False),
    Column("issued_ns", BigInteger, nullable=False),
    Column("ends_ns", BigInteger, nullable=False),
    Column("next_key_sha256", String(64), nullable=False, default="", comment="of its renewal; empty before"),
    Column("revoked_ns", BigInteger, nullable=False, default=0, comment="0: it is not"),
    Column("reason", String(40), nullable=False, default=""),
    Index("ix_node_certificate_region_node", "region", "node"),
)
"""Certificates that nodes got."""

dicom_file = Table(
    "dicom_file",
    CARE,
    Column("transfer_id", String(36), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("outcome", String(20), nullable=False, comment="indexed, manifest, or why it is no image that can be shown"),
    Column("read_ns", BigInteger, nullable=False),
    Index(None, "outcome"),
)
"""That a complete file of a study was looked at; a file without a row here is still to be read."""

dicom_group = Table(
    "dicom_group",
    CARE,
    Column("region", String(40), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("group_id", String(64), primary_key=True),
    Column("person_id", String(64), nullable=False, comment="of the site; empty: a person has to say whose it is"),
    Column("generation", BigInteger, nullable=False, comment="of the manifest that counts: the highest"),
    Column("told_ns", BigInteger, nullable=False, comment="when that manifest became complete"),
    Column("erased_ns", BigInteger, comment="when its files went because its person was erased"),
    Column("objects", Integer, comment="files of images that the manifest names; NULL where none said"),
    Index(None, "region", "site", "person_id"),
)
"""Whose study a group of files is, as its site says."""

dicom_study = Table(
    "dicom_study",
    CARE,
    Column("study_key", String(64), primary_key=True, comment="SHA-256 of region, site, group and UID; the FHIR id"),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("group_id", String(64), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("study_date", String(8), nullable=False, comment="YYYYMMDD, empty where it is not said"),
    Column("study_time", String(16), nullable=False),
    Column("modalities", Text, nullable=False, comment="JSON list, sorted"),
    Column("series_count", Integer, nullable=False),
    Column("instance_count", Integer, nullable=False, comment="previews and second versions are not counted"),
    Column("attributes", Text, nullable=False, comment="DICOM JSON of the study's level"),
    Column("indexed_ns", BigInteger, nullable=False, comment="when something was last added to it"),
    Column("read_by", String(64), comment="account of who read it last; NULL: nobody has"),
    Column("read_ns", BigInteger, comment="when they said so"),
    Column("read_images", Integer, comment="how many images and objects there were then"),
    Column(
        "fetched_ns",
        BigInteger,
        comment="when it was fetched from an archive; NULL: it came, or somebody said whether it is read",
    ),
    Index(None, "region", "study_uid"),
    Index(None, "region", "study_date", "study_time", "study_key"),
    Index(None, "region", "site", "group_id"),
    Index(
        "ix_dicom_study_unread",
        "region",
        "study_date",
        "study_time",
        "study_key",
        sqlite_where=text("(read_images IS NULL OR read_images < instance_count) AND fetched_ns IS NULL"),
        postgresql_where=text("(read_images IS NULL OR read_images < instance_count) AND fetched_ns IS NULL"),
    ),
)
"""A study as one site filed it: the same UID from two sites, or for two patients, is two rows."""

dicom_series = Table(
    "dicom_series",
    CARE,
    Column("study_key", String(64), primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("series_number", BigInteger, nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("attributes", Text, nullable=False, comment="DICOM JSON of the series' level"),
    Index(None, "region", "series_uid"),
)

dicom_instance = Table(
    "dicom_instance",
    CARE,
    Column("study_key", String(64), primary_key=True),
    Column("sop_uid", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("region", String(40), nullable=False),
    Column("site", String(40), nullable=False),
    Column("series_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False, comment="as it is stored"),
    Column("instance_number", BigInteger, nullable=False),
    Column("frames", Integer, nullable=False, comment="0 where there are no pixels"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, comment="1 is what came first; more is other content of the same UID"),
    Column("is_preview", Boolean, nullable=False),
    Column("flaw", String(20), nullable=False, comment="why its pixels cannot be shown; empty where nothing is known"),
    Column("attributes", Text, nullable=False, comment="DICOM JSON of the instance's level"),
    Column("indexed_ns", BigInteger, nullable=False),
    Index(None, "region", "site", "sop_uid"),
    Index(None, "study_key", "series_uid"),
)
"""An image or another object; its bytes are the blob of this hash."""

"""Configuration of the hub: one TOML file, read once, never changed, unknown keys refused.

Secrets are files, never values.  Paths are taken relative to the configuration file.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from telemed.roles import MACHINES, OWN_ONLY, REGIONAL, Role

from cloud_hub.errors import ConfigRefused

Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
LOOPBACK = "127.0.0.1"
OIDC_CALLBACK = "/api/v1/oidc/callback"
"""Path at which the identity provider sends people back to the hub."""


SectionT = TypeVar("SectionT", bound="Section")


class Section(BaseModel):
    """A part of the configuration file: read once, never changed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreConfig(Section):
    """Where the hub keeps what it takes in."""

    samples_url: str = Field(
        description="SQLAlchemy URL of the sample store (sqlite:///... or postgresql+psycopg://...)."
    )
    care_url: str = Field(description="SQLAlchemy URL of the care store; on PostgreSQL it may be the same database.")


class BrokerConfig(Section):
    """The MQTT broker."""

    kind: Literal["embedded", "external"] = Field(
        default="embedded", description="embedded: amqtt in a process of its own, started with the hub."
    )
    host: str = Field(default=LOOPBACK, description="Address of the broker.")
    port: Port = Field(default=1883, description="Port of the broker.")
    secrets_file: Path = Field(
        default=Path("broker-secrets.json"),
        description="JSON file: user name -> secret, region, site of each node, and the hub's; of no use with [pki].",
    )
    user: str = Field(default="hub", description="User name of the hub at the broker.")
    secrets_off_loopback: bool = Field(
        default=False,
        description="Without [pki]: whether secrets may cross a network readable, for a test in a network of its own.",
    )
    settings_folder: Path | None = Field(
        default=None, description="With [pki]: folder of an external Mosquitto's settings, which the hub keeps current."
    )
    reload_command: list[str] = Field(
        default_factory=list, description="Program that has the external broker read them again (SIGHUP)."
    )


class HttpsConfig(Section):
    """HTTPS beside the plain HTTP of loopback: for every page that is not on this machine."""

    host: str = Field(min_length=1, description="Address to listen on, e.g. 0.0.0.0.")
    port: Port = Field(default=8444, description="Port.")
    certificate_file: Path | None = Field(
        default=None, description="PEM chain; none: of the hub's own authority, for the names of [pki]."
    )
    key_file: Path | None = Field(default=None, description="Its private key, PEM without a password.")

    @model_validator(mode="after")
    def _files_come_together(self) -> "HttpsConfig":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file come together")
        return self


class PasskeysConfig(Section):
    """Passkeys and security keys (WebAuthn); they are bound to one domain for good."""

    rp_id: str = Field(
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        description="Domain that they are bound to: the host name of the pages or one above it; changed, all are lost.",
    )
    origins: list[str] = Field(
        min_length=1, description="Origins of the pages, e.g. https://hub.example:8444; nothing else may use them."
    )

    @model_validator(mode="after")
    def _pages_are_of_the_domain(self) -> "PasskeysConfig":
        for origin in self.origins:
            parts = urlsplit(origin)
            host = parts.hostname or ""
            if parts.scheme != "https" and (parts.scheme, host) != ("http", "localhost"):
                raise ValueError(f"{origin}: https is needed")
            if (
                origin != f"{parts.scheme}://{parts.netloc}".lower()
                or parts.username is not None
                or not f".{host}".endswith(f".{self.rp_id}")
            ):
                raise ValueError(f"{origin} is no origin of {self.rp_id}")
        return self


class WebConfig(Section):
    """The HTTP face."""

    host: str = Field(default=LOOPBACK, description="Address to listen on; loopback unless HTTPS is set up.")
    port: Port = Field(default=8080, description="Port.")
    https: HttpsConfig | None = Field(default=None, description="HTTPS; none: pages on this machine alone.")
    session_idle_minutes: Annotated[int, Field(ge=1, le=720)] = Field(default=15, description="Idle sign-out.")
    session_hours: Annotated[int, Field(ge=1, le=24)] = Field(default=12, description="Longest session.")
    requests_per_minute: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        default=100, description="Requests of one session; more are answered 429."
    )
    totp_required: bool = Field(default=True, description="Second factor; only a demo may switch it off.")
    second_factor_roles: frozenset[Role] = Field(
        default=frozenset(Role) - OWN_ONLY - MACHINES,
        description="Roles that must set up a second factor; family and care workers may.",
    )
    passkeys: PasskeysConfig | None = Field(default=None, description="Passkeys and security keys; none: not offered.")
    metrics_token_file: Path | None = Field(
        default=None, description="File with the bearer token for /metrics when asked from elsewhere than loopback."
    )


class AccountsConfig(Section):
    """People and programs that may sign in, as made by `cloud-hub accounts`."""

    seed_file: Path | None = Field(default=None, description="JSON file of accounts taken in at start, secrets hashed.")
    key_file: Path = Field(
        default=Path("accounts-key"),
        description="Key under which secrets of second factors are sealed; made at the first start, never in a backup "
        "of the database.",
    )


class OidcRule(Section):
    """One line of the mapping: whoever has this value in this claim has this role at these sites."""

    claim: str = Field(
        min_length=1, max_length=200, description="Name of the claim, e.g. groups; dots lead into objects."
    )
    value: str = Field(
        min_length=1, max_length=200, description="Value that the claim must be, or have among its values."
    )
    role: Role = Field(description="Role that it gives.")
    sites: list[Name] = Field(default_factory=list, description="Sites; none: the region, for roles that serve it.")
    creates_account: bool = Field(default=False, description="Whether somebody new gets an account by this line.")

    @model_validator(mode="after")
    def _gives_what_a_person_can_have(self) -> "OidcRule":
        if self.role in MACHINES:
            raise ValueError(f"{self.role.value} is no role of people")
        if not self.sites and self.role not in REGIONAL:
            raise ValueError(f"{self.role.value} needs sites")
        return self


class OidcConfig(Section):
    """Sign-in by an identity provider (OpenID Connect) beside local accounts."""

    issuer: str = Field(max_length=200, description="Issuer of the provider, exactly as it writes it itself.")
    client_id: str = Field(min_length=1, max_length=200, description="Name of the hub at the provider.")
    client_secret_file: Path | None = Field(
        default=None, description="File with the hub's secret at the provider; none: PKCE alone."
    )
    redirect_uri: str = Field(description="Address of the hub's pages with /api/v1/oidc/callback, as registered there.")
    name_zh: str = Field(max_length=40, description="Name of the provider on Chinese screens.")
    name_en: str = Field(max_length=40, description="Name of the provider on English screens.")
    scopes: list[str] = Field(default=["openid", "profile"], description="Scopes that are asked for.")
    username_claim: str = Field(default="preferred_username", description="Claim that names a new account.")
    name_claim: str = Field(default="name", description="Claim with the person's name.")
    userinfo: bool = Field(default=False, description="Whether claims are also taken from the provider's userinfo.")
    rules: list[OidcRule] = Field(default_factory=list, description="The mapping; what no line gives nobody has.")
    ask_acr: list[str] = Field(default_factory=list, description="Strengths of sign-in that the provider is asked for.")
    second_factor_acr: list[str] = Field(
        default_factory=list, description="Values of acr that count as a second factor."
    )
    second_factor_amr: list[str] = Field(
        default_factory=list, description="Values of amr that count as a second factor, e.g. mfa, hwk."
    )
    timeout_s: Annotated[float, Field(gt=0, le=30)] = Field(default=5, description="Longest wait for the provider.")
    clock_skew_s: Annotated[int, Field(ge=0, le=300)] = Field(
        default=60, description="How far the clocks of provider and hub may be apart."
    )
    other_origins: list[str] = Field(
        default_factory=list, description="Origins beside the issuer's at which the provider has addresses, https://..."
    )
    private_network: bool = Field(
        default=False, description="Whether the provider may be on a private network or on this machine."
    )
    ca_file: Path | None = Field(default=None, description="Certificates that the provider's is judged by; PEM.")

    @model_validator(mode="after")
    def _addresses_are_safe(self) -> "OidcConfig":
        for address in (self.issuer, self.redirect_uri, *self.other_origins):
            parts = urlsplit(address)
            if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
                raise ValueError(f"{address}: https is needed")
        if urlsplit(self.redirect_uri).path != OIDC_CALLBACK or urlsplit(self.redirect_uri).query:
            raise ValueError(f"redirect_uri must end in {OIDC_CALLBACK}")
        if "openid" not in self.scopes:
            raise ValueError("scopes must name openid")
        return self


class IngestConfig(Section):
    """How measurements are taken in."""

    batch_records: Annotated[int, Field(ge=1, le=5000)] = Field(default=1000, description="Records per commit at most.")
    batch_ms: Annotated[float, Field(ge=1, le=1000)] = Field(default=100, description="Longest wait for a batch.")
    window: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1024, description="Credit per stream given to edges while the store keeps up; less while it is behind."
    )
    datagram_enabled: bool = Field(
        default=True, description="Whether alarms may also come by encrypted datagram (UDP)."
    )
    datagram_host: str = Field(default=LOOPBACK, description="Address to listen on for them.")
    datagram_port: Port = Field(default=8443, description="UDP port for them.")


class RpcConfig(Section):
    """Transfer of files over gRPC: studies and recorded exams from the nodes, bundles to them."""

    enabled: bool = Field(default=True, description="False: the port is not opened.")
    host: str = Field(default=LOOPBACK, description="Address to listen on; loopback until nodes have certificates.")
    port: Port = Field(default=8443, description="Port.")
    folder: Path = Field(default=Path("blobs"), description="Folder of received and released files.")
    largest_file_mib: Annotated[int, Field(ge=1, le=2048)] = Field(
        default=2048, description="Largest file that a node may send, in MiB."
    )
    disk_limit_pct: Annotated[float, Field(gt=0, le=100)] = Field(
        default=85, description="How full the disk may get; above it nodes are asked to try again later."
    )
    files_per_node: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=64, description="Files of one node that may be under way at once."
    )
    calls_per_node: Annotated[int, Field(ge=2, le=100)] = Field(
        default=8, description="Calls that one node may have open at once."
    )
    write_limit_s: Seconds = Field(
        default=30, description="A node that does not read what it is told for this long is cut off."
    )
    idle_s: Seconds = Field(default=600, description="A call on which nothing comes for this long is closed.")
    keep_unfinished_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=30, description="A file of which nothing was heard for this long is given up."
    )


class ArchiveConfig(Section):
    """The hospital's archive of images (PACS), of which earlier studies are asked by DICOMweb; it is only read."""

    url: str = Field(max_length=500, description="Root of its DICOMweb, e.g. https://pacs.example/dicom-web.")
    identifier_system: str = Field(
        min_length=1,
        max_length=200,
        description="System of those identifiers of persons whose value is the PatientID in the archive.",
    )
    issuer: str = Field(
        default="",
        max_length=64,
        description="Issuer of Patient ID that its studies must name; empty: not looked at.",
    )
    user: str = Field(
        default="", max_length=200, description="Name of the hub at the archive; empty: it asks for none."
    )
    password_file: Path | None = Field(default=None, description="File with the password that belongs to the name.")
    ca_file: Path | None = Field(default=None, description="Certificates that the archive's is judged by; PEM.")
    timeout_s: Annotated[float, Field(gt=0, le=120)] = Field(default=10, description="Longest wait for a list.")
    image_limit_s: Seconds = Field(default=300, description="Longest time to fetch one image.")
    images_most: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=10_000, description="A study of more images than these is not fetched."
    )

    @model_validator(mode="after")
    def _address_is_safe(self) -> "ArchiveConfig":
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ValueError(f"{self.url}: https is needed")
        if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("url is scheme, host, port and path alone; name and password stand in user, password_file")
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file come together")
        return self


class ImagingConfig(Section):
    """Studies that sites send: how their files are read."""

    readers: Annotated[int, Field(ge=1, le=16)] = Field(
        default=2, description="Processes that read image files; they are started when needed."
    )
    reader_memory_mib: Annotated[int, Field(ge=512, le=65536)] = Field(
        default=1024, description="Memory that such a process may take; a file that needs more is not shown."
    )
    reader_limit_s: Seconds = Field(
        default=20, description="Longest time to read one file or make one picture; then the process is ended."
    )
    archive: ArchiveConfig | None = Field(
        default=None, description="The hospital's archive of images; none: nothing is asked there."
    )


class PkiConfig(Section):
    """Certificates instead of secrets for nodes: required as soon as one of them is not on this machine."""

    folder: Path = Field(
        default=Path("pki"), description="Folder of the hub's own authority and certificates; made at the first start."
    )
    names: list[Annotated[str, Field(min_length=1, max_length=253)]] = Field(
        min_length=1, description="Names and addresses by which nodes reach the hub; the first stands in tokens."
    )
    authority_file: Path | None = Field(
        default=None,
        description="Authority made elsewhere, PEM: its certificate and all above it up to the root.",
    )
    authority_key_file: Path | None = Field(default=None, description="Its private key on P-256, without a password.")
    door_host: str = Field(default=LOOPBACK, description="Address to listen on for nodes without a valid certificate.")
    door_port: Port = Field(default=8445, description="Port for them (gRPC, the hub's certificate alone).")
    node_hours: Annotated[float, Field(gt=0, le=24 * 90)] = Field(
        default=24 * 7, description="Life of a node's certificate; it is renewed at two thirds of it."
    )
    grace_hours: Annotated[float, Field(ge=0, le=24 * 365)] = Field(
        default=24 * 30, description="How long after its end a node may still renew it; then it needs a token again."
    )
    model_root_file: Path | None = Field(
        default=None,
        description="Root of trust of model bundles, which nodes pin when they enrol; none: they get none.",
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> "PkiConfig":
        if (self.authority_file is None) != (self.authority_key_file is None):
            raise ValueError("authority_file and authority_key_file come together")
        return self


class AuditConfig(Section):
    """The audit trail."""

    folder: Path = Field(
        default=Path("audit"),
        description="Folder of the key that signs the audit trail, made at the first start; "
        "apart from the database, and readable by the hub alone.",
    )


class HubConfig(Section):
    """The whole configuration file of the hub."""

    region: Name = Field(description="Region that this hub serves.")
    name_zh: str = Field(description="Name of the hub on Chinese screens.")
    name_en: str = Field(description="Name of the hub on English screens.")
    phone: str = Field(default="", description="Duty number.")
    demo: bool = Field(default=False, description="Every page carries the mark Demo; loopback only.")
    store: StoreConfig = Field(description="Databases.")
    broker: BrokerConfig = Field(description="MQTT broker.")
    web: WebConfig = Field(default_factory=WebConfig, description="HTTP.")
    ingest: IngestConfig = Field(default_factory=IngestConfig, description="Intake.")
    accounts: AccountsConfig = Field(default_factory=AccountsConfig, description="Accounts.")
    rpc: RpcConfig = Field(default_factory=RpcConfig, description="Transfer of files.")
    imaging: ImagingConfig = Field(default_factory=ImagingConfig, description="Images.")
    pki: PkiConfig | None = Field(default=None, description="Certificates of nodes; none: secrets, on loopback alone.")
    audit: AuditConfig = Field(default_factory=AuditConfig, description="Audit trail.")
    oidc: OidcConfig | None = Field(default=None, description="Sign-in by an identity provider; none: local accounts.")
    silence_after_s: Seconds = Field(default=15, description="Silence of a node that raises the technical alarm.")
    utc_offset: Annotated[str, Field(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$")] = Field(
        default="+08:00", description="Offset of the region's clocks, written into the times of FHIR resources."
    )

    @model_validator(mode="after")
    def _only_a_demo_goes_without_second_factor(self) -> "HubConfig":
        if not self.web.totp_required and not self.demo:
            raise ValueError("web.totp_required = false is allowed in a demo only (demo = true); remove it")
        return self

    @model_validator(mode="after")
    def _https_has_a_certificate(self) -> "HubConfig":
        https = self.web.https
        if https is not None and https.certificate_file is None and self.pki is None:
            raise ValueError("web.https needs certificate_file and key_file, or [pki] to make them")
        return self

    @model_validator(mode="after")
    def _what_is_fetched_has_a_place(self) -> "HubConfig":
        if self.imaging.archive is not None and not self.rpc.enabled:
            raise ValueError("imaging.archive needs rpc.enabled: its folder takes what is fetched")
        return self


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone; a name is only if it is localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def readable_pages(config: HubConfig) -> list[str]:
    """Return the settings by which people's passwords would cross a network readable."""
    return [] if is_loopback(config.web.host) else ["web.host"]


def readable_listeners(config: HubConfig) -> list[str]:
    """Return the settings by which secrets of nodes would cross a network readable; none with certificates."""
    if config.pki is not None or config.broker.secrets_off_loopback:
        return []
    listeners = [("broker.host", config.broker.host)]
    listeners += [("rpc.host", config.rpc.host)] if config.rpc.enabled else []
    listeners += [("ingest.datagram_host", config.ingest.datagram_host)] if config.ingest.datagram_enabled else []
    return [name for name, host in listeners if not is_loopback(host)]


def load(path: Path) -> HubConfig:
    """Return the configuration in `path`, with its relative paths made absolute.

    Raises:
        ConfigRefused: unreadable, not TOML, unknown key, wrong value; the text has file:line and a hint.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise ConfigRefused(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # Not every refusal of the reader is a TOMLDecodeError: a number of 5,000 digits, a thousand brackets.
        raise ConfigRefused(f"{path}: not valid TOML: {error}") from error
    try:
        config = HubConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigRefused("\n".join(_explain(path, text, error))) from error
    return _absolute(config, path.resolve().parent)


def _explain(path: Path, text: str, error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        keys = [str(key) for key in problem["loc"]]
        hint = f"{path}:{_line_of(text, keys)}: {'.'.join(keys) or 'file'}: {problem['msg']}"
        if problem["type"] == "extra_forbidden":
            hint += " (unknown key: misspelt, or of a newer version)"
        lines.append(hint)
    return lines


def _line_of(text: str, names: list[str]) -> int:
    """Line of the last of `names` that can be found, each looked for after the one before; 1 if none."""
    found = 0
    rows = text.splitlines()
    for name in names:
        for number in range(found, len(rows)):
            head = rows[number].split("=", 1)[0].strip(" []\"'")
            if head == name or head.endswith("." + name):
                found = number
                break
    return found + 1


def _absolute(config: HubConfig, base: Path) -> HubConfig:
    def url(value: str) -> str:
        prefix = "sqlite:///"
        if value.startswith(prefix) and not value.startswith(prefix + "/"):
            return f"{prefix}{base / value.removeprefix(prefix)}"
        return value

    seed, token = config.accounts.seed_file, config.web.metrics_token_file
    return config.model_copy(
        update={
            "store": StoreConfig(samples_url=url(config.store.samples_url), care_url=url(config.store.care_url)),
            "broker": config.broker.model_copy(
                update={
                    "secrets_file": base / config.broker.secrets_file,
                    "settings_folder": base / config.broker.settings_folder if config.broker.settings_folder else None,
                }
            ),
            "web": config.web.model_copy(
                update={"metrics_token_file": base / token if token else None, "https": _absolute_https(config, base)}
            ),
            "rpc": config.rpc.model_copy(update={"folder": base / config.rpc.folder}),
            "accounts": AccountsConfig(
                seed_file=base / seed if seed else None, key_file=base / config.accounts.key_file
            ),
            "pki": _absolute_pki(config.pki, base) if config.pki else None,
            "audit": AuditConfig(folder=base / config.audit.folder),
            "oidc": _absolute_oidc(config, base),
            "imaging": config.imaging.model_copy(update={"archive": _absolute_archive(config, base)}),
        }
    )


def _absolute_pki(pki: PkiConfig, base: Path) -> PkiConfig:
    named = _below(base, pki, "authority_file", "authority_key_file", "model_root_file")
    return named.model_copy(update={"folder": base / pki.folder})


def _absolute_oidc(config: HubConfig, base: Path) -> OidcConfig | None:
    return config.oidc and _below(base, config.oidc, "client_secret_file", "ca_file")


def _absolute_archive(config: HubConfig, base: Path) -> ArchiveConfig | None:
    archive = config.imaging.archive
    return archive and _below(base, archive, "password_file", "ca_file")


def _below(base: Path, section: SectionT, *names: str) -> SectionT:
    """Return a section with these files of it, as far as they are named, below a folder."""
    files = {name: getattr(section, name) for name in names}
    return section.model_copy(update={name: base / file for name, file in files.items() if file})


def _absolute_https(config: HubConfig, base: Path) -> HttpsConfig | None:
    https = config.web.https
    if https is None or https.certificate_file is None or https.key_file is None:
        return https
    files = {"certificate_file": base / https.certificate_file, "key_file": base / https.key_file}
    return https.model_copy(update=files)

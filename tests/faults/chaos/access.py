"""How the node is known to its hub: by a secret, or by certificates as in production (pure texts of configurations).

With certificates every listener of the hub asks for one (TLS 1.3 to the broker and to gRPC, DTLS for datagrams), the
hub keeps the settings of the Mosquitto current, and renewal goes through the door beside them.
"""

from typing import Literal

Access = Literal["secrets", "certificates", "short"]
"""Secrets; certificates of a week; certificates that end within seconds, so that they are renewed all the time."""
ALL: tuple[Access, ...] = ("secrets", "certificates", "short")
SHORT_LIFE_S = 6.0
NODE_HOURS: dict[Access, float] = {"certificates": 24 * 7, "short": SHORT_LIFE_S / 3600}
DOOR_PORT = 8445
SETTINGS, PROCESS = "mosquitto-certified", "mosquitto.pid"
"""Folder of what the hub writes for the broker, and where the broker's process is told once it listens: before, a
signal to read the settings again would end it."""
STARTED = """
until [ -e "$0/mosquitto.conf" ]; do sleep 0.05; done
{ cat "$0/mosquitto.conf"; echo "user root"; } > "$0/started.conf"
exec "$1" -c "$0/started.conf"
"""
"""How a broker begins: when the hub has written its settings for the first time.  Its own user could not come into a
temporary folder."""


def hub_config(text: str, access: Access, address: str) -> str:
    """Return the hub's configuration for certificates, from the one for secrets."""
    reload = f'["/bin/sh", "-c", "kill -HUP $(cat {PROCESS})"]'
    text = put(text, 'secrets_file = "hub/broker-secrets.json"\n', f'settings_folder = "{SETTINGS}"\n')
    text = put(text, "[broker]\n", f"[broker]\nreload_command = {reload}\n")
    door = f'names = ["{address}"]\ndoor_host = "{address}"\ndoor_port = {DOOR_PORT}\n'
    return f'{without_secrets(text)}[pki]\nfolder = "hub/pki"\n{door}node_hours = {NODE_HOURS[access]}\n'


def edge_config(text: str, node: str) -> str:
    """Return a node's configuration for certificates, from the one for a secret."""
    own = f'secret_file = "{node}-secret"\n'
    # On the node's own disk, which loses its power with everything else.
    return put(without_secrets(text), own, f'certificates = "{node}-buffer/pki"\n')


def without_secrets(text: str) -> str:
    """Return a configuration by which no secret may cross the network."""
    return put(text, "secrets_off_loopback = true\n", "")


def put(text: str, before: str, after: str) -> str:
    """Replace one place of a configuration, which must be there."""
    assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in the region's configuration"
    return text.replace(before, after)

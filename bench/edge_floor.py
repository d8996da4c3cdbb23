"""The least that durability costs: synced commits of what all patients send, alone or with the libraries around them.

`python -m bench.edge_floor FILE PATIENTS COMMITS [PORT]` runs until it is ended; what it takes of the processor is the
floor beneath any program that acknowledges a monitor only after its message is on the disk, and shares a commit so
often.  Without the PORT of a broker it stores bytes that are there already.  With it each message is made by the same
libraries as in the product (protobuf, zstd, AES-GCM, SQLite) and a second of all patients goes out as one MQTT message
by paho; nothing else is done with it: no number, no key, no receipt, no alarm.
"""

import os
import select
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paho.mqtt.enums import CallbackAPIVersion
from telemed.v1 import sample_pb2

MESSAGE_BYTES = 1200
"""A second of one patient as it is stored: numbers, and three waves of 250 Hz, packed."""
NUMBERS, WAVES = 8, (250, 125, 62)
"""Of one message of the monitors of `bench.edge_cost`: values, and samples of each wave."""
SAMPLES = [[[(at * each) % 23 - 11 for at in range(length)] for length in WAVES] for each in range(1, 23)]
INSERT = "INSERT INTO log (stream, seq, payload) VALUES (?, ?, ?)"


def opened(file: Path) -> sqlite3.Connection:
    """Make a log in which every commit is synced."""
    store = sqlite3.connect(file, isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = FULL")
    store.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, stream TEXT, seq INTEGER, payload BLOB)")
    store.execute("CREATE UNIQUE INDEX log_key ON log (stream, seq)")
    return store


def due(patients: int, commits_per_s: float, wait_until: Callable[[float], None]) -> Iterator[range]:
    """Yield the numbers of the messages for each commit, when it is time for it; `wait_until` gets a monotonic time."""
    began_s, number, stored = time.monotonic(), 0, 0
    while True:
        number += 1
        wait_until(began_s + number / commits_per_s)
        last = int(number * patients / commits_per_s)
        yield range(stored, last)
        stored = last


def commit_for_ever(file: Path, patients: int, commits_per_s: float) -> None:
    """Store a message of each patient every second, in commits at even distances."""
    store, message = opened(file), os.urandom(MESSAGE_BYTES)
    for messages in due(patients, commits_per_s, lambda at_s: time.sleep(max(0.0, at_s - time.monotonic()))):
        store.execute("BEGIN IMMEDIATE")
        store.executemany(INSERT, [(f"p{each % patients}", each, message) for each in messages])
        store.execute("COMMIT")


def carry_for_ever(file: Path, patients: int, commits_per_s: float, port: int) -> None:
    """Make, pack, seal, and store such messages, and send a second of them in one MQTT message of QoS 1."""
    store, packer, cipher = opened(file), zstandard.ZstdCompressor(level=3), AESGCM(AESGCM.generate_key(256))
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    opened_socket = client.socket()
    assert opened_socket is not None

    def converse_until(at_s: float) -> None:
        while (left_s := at_s - time.monotonic()) > 0:
            if select.select([opened_socket], [], [], left_s)[0]:
                client.loop_read()
        client.loop_misc()

    waiting: list[bytes] = []
    sent_s = time.monotonic()
    for messages in due(patients, commits_per_s, converse_until):
        rows = []
        for each in messages:
            for kind, body in (("numeric", _numbers(each)), ("wave", _waves(each))):
                stream, packed, nonce = f"p{each % patients}/{kind}", packer.compress(body), os.urandom(12)
                rows.append((stream, each, nonce + cipher.encrypt(nonce, packed, f"{stream} {each}".encode())))
                waiting.append(packed)
        store.execute("BEGIN IMMEDIATE")
        store.executemany(INSERT, rows)
        store.execute("COMMIT")
        if time.monotonic() - sent_s >= 1:
            sent_s = time.monotonic()
            client.publish("floor", b"".join(waiting), qos=1)
            client.loop_write()
            waiting.clear()


def _numbers(seed: int) -> bytes:
    values = [
        sample_pb2.NumericValue(measure="hr", value=str(60 + (seed + each) % 40), unit="/min", mdc=147842, status="R")
        for each in range(NUMBERS)
    ]
    return sample_pb2.NumericSet(measured_at_unix_ns=time.time_ns(), values=values).SerializeToString()


def _waves(seed: int) -> bytes:
    channels = [
        sample_pb2.Channel(measure="ecg_II", rate_mhz=250_000, gain=200, unit="mV", deltas=samples)
        for samples in SAMPLES[seed % len(SAMPLES)]
    ]
    return sample_pb2.WaveformSet(measured_at_unix_ns=time.time_ns(), channels=channels).SerializeToString()


if __name__ == "__main__":
    found = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    if len(sys.argv) > 4:
        carry_for_ever(*found, int(sys.argv[4]))
    else:
        commit_for_ever(*found)

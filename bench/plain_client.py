"""What the uplink is compared with: a plain MQTT client, one connection, QoS 1, alarms and upload through it.

`send` runs at the edge's end, `receive` at the hub's; both write JSON lines.  The upload is published in pieces, the
next one when the last was acknowledged: of the plain ways the one that makes an alarm wait least.  paho's defaults
otherwise: it connects again by itself and sends again what was not acknowledged.
"""

import argparse
import json
import os
import queue
import random
import sys
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from bench.alarm_source import EVERY_S, JITTER_S

ALARM_BYTES = 300
PIECE_BYTES = 64 * 1024
ALARMS, UPLOAD = "plain/alarm", "plain/upload"
CONNECT_LIMIT_S = 30


def main() -> None:
    """Be one of the two sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("send", "receive"))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--alarms", type=int, default=2_000)
    asked = parser.parse_args()
    (_send if asked.side == "send" else _receive)(asked)


def _client(name: str, asked: argparse.Namespace) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
    client.max_queued_messages_set(0)
    client.connect(asked.host, asked.port, 60)
    return client


def _send(asked: argparse.Namespace) -> None:
    """Publish: first the upload alone until a line comes in, then alarms as well; ends with its input."""
    client = _client("plain-edge", asked)
    acknowledged: queue.SimpleQueue[int] = queue.SimpleQueue()

    def on_publish(_client: paho.Client, _data: object, mid: int, *_rest: object) -> None:
        # No lock of ours here: paho holds its own, which publish takes as well.
        acknowledged.put(mid)

    client.on_publish = on_publish
    client.loop_start()
    threading.Thread(target=_upload, args=(client, acknowledged), daemon=True).start()
    if sys.stdin.readline():
        _alarms(client, asked.alarms)
        print(json.dumps({"sent": asked.alarms}), flush=True)
        sys.stdin.readline()


def _upload(client: paho.Client, acknowledged: "queue.SimpleQueue[int]") -> None:
    while True:
        piece = client.publish(UPLOAD, os.urandom(PIECE_BYTES), qos=1).mid
        while acknowledged.get() != piece:
            pass


def _alarms(client: paho.Client, most: int) -> None:
    draw = random.Random(7)
    next_s = time.monotonic()
    for number in range(most):
        next_s += EVERY_S + draw.uniform(-JITTER_S, JITTER_S)
        time.sleep(max(0.0, next_s - time.monotonic()))
        head = f"{number} {time.time_ns()} ".encode()
        client.publish(ALARMS, head + os.urandom(ALARM_BYTES - len(head)), qos=1)


def _receive(asked: argparse.Namespace) -> None:
    """Say when each alarm came; a repeated one counts when it came first."""
    seen: set[int] = set()

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic != ALARMS:
            return
        number, sent_ns = (int(word) for word in message.payload.split(b" ", 2)[:2])
        if number not in seen:
            seen.add(number)
            print(json.dumps({"number": number, "delay_ms": (time.time_ns() - sent_ns) / 1e6}), flush=True)

    def on_connect(connected: paho.Client, *_rest: object) -> None:
        connected.subscribe("plain/#", 1)

    client = _client("plain-hub", asked)
    client.on_message = on_message
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: print(json.dumps({"subscribed": True}), flush=True)
    client.loop_forever()


if __name__ == "__main__":
    main()

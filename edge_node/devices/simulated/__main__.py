"""Command line of the simulated monitors: `patient`, `ward` and `play`."""

import argparse
import asyncio
import contextlib
import signal
from pathlib import Path

from edge_node.devices.simulated.ledger import Ledger
from edge_node.devices.simulated.monitor import MonitorConfig, control_ids, speaker_of
from edge_node.devices.simulated.playback import Recording, play
from edge_node.devices.simulated.profiles import PROFILES
from edge_node.devices.simulated.sender import MonitorLine, Target


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m edge_node.devices.simulated", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    patient = commands.add_parser("patient", help="one simulated patient at one monitor")
    _add_monitor(patient)
    patient.add_argument("--profile", choices=sorted(PROFILES), default="stable")
    patient.add_argument("--seed", type=int, default=1)
    patient.add_argument("--speed", type=float, default=1, help="how fast the profile runs; the waves do not follow")
    patient.add_argument("--interval", type=float, default=1, help="seconds between messages")
    patient.add_argument("--nibp-every", type=float, default=300, help="seconds between cuff pressures")
    patient.add_argument("--no-waves", action="store_true")
    patient.add_argument("--control-port", type=int, help="port on loopback where signs are changed")
    many = commands.add_parser("ward", help="many monitors in one process")
    many.add_argument("--file", type=Path, required=True)
    many.add_argument("--ledger", type=Path)
    record = commands.add_parser("play", help="a WFDB or EDF recording, spoken by a monitor")
    record.add_argument("record", type=Path)
    _add_monitor(record)
    record.add_argument("--speed", type=float, default=1, help="1, 10, 100; 0 = as fast as acknowledged")
    record.add_argument("--first", type=float, default=0, help="begin at this second")
    record.add_argument("--seconds", type=float, default=0, help="play so many seconds; 0 = all")
    return top


def _add_monitor(to: argparse.ArgumentParser) -> None:
    to.add_argument("--host", default="127.0.0.1")
    to.add_argument("--port", type=int, default=2575)
    to.add_argument("--eui64", required=True, help="16 hex digits")
    to.add_argument("--application", default="QY-MON")
    to.add_argument("--facility", default="BAOSHAN-CLINIC")
    to.add_argument("--patient-id", default="")
    to.add_argument("--family-name", default="")
    to.add_argument("--given-name", default="")
    to.add_argument("--birth-date", default="")
    to.add_argument("--sex", choices=("", "M", "F"), default="")
    to.add_argument("--bed", default="", help="name at the control socket")
    to.add_argument("--location", default="", help="PV1-3, unit^room^bed^facility")
    to.add_argument("--processing", choices=("P", "T"), default="P", help="MSH-11")
    to.add_argument("--ledger", type=Path, help="journal of what was sent and answered")


async def run(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    ledger = Ledger(options.ledger)
    try:
        if options.command == "play":
            await _play(options, ledger)
        else:
            await _simulate(options, ledger)
    finally:
        ledger.close()


async def _simulate(options: argparse.Namespace, ledger: Ledger) -> None:
    # NeuroKit2 takes seconds and 150 MB to import; the player of recordings does without.
    from edge_node.devices.simulated import ward  # noqa: PLC0415

    if options.command == "ward":
        await ward.run(ward.load(options.file), ledger)
        return
    config = ward.WardConfig(
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        interval_s=options.interval,
        seed=options.seed,
        patients=[_simulated(options)],
    )
    await ward.run(config, ledger)


def _monitor(options: argparse.Namespace) -> MonitorConfig:
    names = ("bed", "eui64", "application", "facility", "patient_id", "family_name", "given_name", "birth_date", "sex")
    told = {name: getattr(options, name) for name in (*names, "location", "processing")}
    return MonitorConfig.model_validate(told)


def _simulated(options: argparse.Namespace) -> MonitorConfig:
    more = {
        "profile": options.profile,
        "nibp_every_s": options.nibp_every,
        "waves": not options.no_waves,
        "course_speed": options.speed,
    }
    return _monitor(options).model_copy(update=more)


async def _play(options: argparse.Namespace, ledger: Ledger) -> None:
    with contextlib.closing(
        Recording(options.record, options.speed, first_s=options.first, length_s=options.seconds)
    ) as recording:
        await _play_recording(recording, options, ledger)


async def _play_recording(recording: Recording, options: argparse.Namespace, ledger: Ledger) -> None:
    for part in recording.missing:
        print(f"missing: {part}", flush=True)
    monitor = _monitor(options)
    line = MonitorLine(Target(options.host, options.port), ledger, backlog=8)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(line.run())
        count = await play(recording, speaker_of(monitor), control_ids(monitor.eui64), line)
        sending.cancel()
    print(f"played: {count} messages", flush=True)


def main() -> None:
    """Run until done, or until SIGTERM or Ctrl-C."""
    options = parser().parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_until_stopped(options))


async def _until_stopped(options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await run(options)


if __name__ == "__main__":
    main()

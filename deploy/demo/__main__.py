"""`python -m deploy.demo`: make the state, start the processes, print one ready line, stop cleanly on Ctrl-C."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from deploy.demo.model import BUNDLE_FILE, MODEL_FOLDER
from deploy.demo.processes import Program, Troupe, end_leftovers
from deploy.demo.state import (
    Ports,
    admissions_file,
    edge_config,
    hub_config,
    make_accounts,
    make_broker_secrets,
    ward_file,
)
from deploy.demo.story import CLINIC, SITES, Site

READY_LIMIT_S = 90.0
MODEL_LIMIT_S = 60.0


def is_up(url: str) -> bool:
    """True where the URL answers with a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  (our own loopback address)
            return bool(200 <= answer.status < 300)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


async def until_up(name: str, url: str) -> None:
    """Wait until a process can serve; say who is late rather than wait for ever.

    Raises:
        SystemExit: not ready within READY_LIMIT_S; the text names the log to read.
    """
    deadline = time.monotonic() + READY_LIMIT_S
    while not await asyncio.to_thread(is_up, url):
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} is not ready after {READY_LIMIT_S:g} s; its log: var/demo/{name}.log")
        await asyncio.sleep(0.1)


async def until_model_serves(metrics_url: str) -> None:
    """Wait until a node's figures name a model that serves."""

    def serves() -> bool:
        # A node that starts again answers nobody for a moment.
        with contextlib.suppress(OSError), urllib.request.urlopen(metrics_url, timeout=5) as answer:  # noqa: S310
            return any(line.startswith(b"edge_inference_serving{") for line in answer)
        return False

    while not await asyncio.to_thread(serves):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.5)


def prepare(folder: Path, ports: Ports, record: str) -> dict[str, dict[str, str]]:
    """Write what is missing of the demo's state and return its accounts."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / "hub").mkdir(exist_ok=True)
    accounts = make_accounts(folder)
    make_broker_secrets(folder)
    (folder / "hub.toml").write_text(hub_config(ports))
    for site in SITES:
        (folder / f"{site.node}.toml").write_text(edge_config(site, ports, record))
        (folder / f"{site.node}-ward.toml").write_text(ward_file(site, folder, ports))
        (folder / f"{site.node}-admissions.toml").write_text(admissions_file(site))
    return accounts


def admit(folder: Path, site: Site) -> list[str]:
    """Command that puts the story's people into the beds of a site."""
    stem = str(folder / site.node)
    return ["edge_node", "admit", "--config", f"{stem}.toml", "--from", f"{stem}-admissions.toml"]


async def first_time(folder: Path) -> None:
    """Make the test camera's clip, the recording that a bed plays, and the admissions; each only once."""
    steps = [
        (folder / "test-camera.mp4", ["edge_node.consult.testcard", str(folder / "test-camera.mp4")]),
        (folder / "records" / "demo.hea", ["deploy.demo.recording", str(folder / "records")]),
        (folder / MODEL_FOLDER / BUNDLE_FILE, ["deploy.demo.model", str(folder / MODEL_FOLDER)]),
        *((folder / site.node / "admitted", admit(folder, site)) for site in SITES),
    ]
    for done, command in steps:
        if not await once(done, command):
            raise SystemExit(f"{' '.join(command)} failed")


async def once(done: Path, command: list[str]) -> bool:
    """Run a command unless it succeeded before; return whether it has.  Its own words are for who calls it by hand."""
    if done.exists():
        return True
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *command, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        return False
    done.touch()
    return True


async def show_images(folder: Path, ports: Ports) -> None:
    """Release the model to the clinic, then have the scanner send a study of the first bed; each only once.

    The scanner waits for the model no longer than MODEL_LIMIT_S: a study that is not read is worth seeing too.
    """
    release = ["cloud_hub", "release", str(folder / MODEL_FOLDER / BUNDLE_FILE), "--config", str(folder / "hub.toml")]
    release += ["--to", f"{CLINIC.site}/{CLINIC.node}"]
    if not await once(folder / "hub" / "released", release):
        print("the model could not be released: the images come without findings", flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MODEL_LIMIT_S):
            await until_model_serves(f"http://127.0.0.1:{ports.page(CLINIC)}/metrics")
    if not await once(folder / CLINIC.node / "scanned", ["deploy.demo.scanner", str(ports.dicom), CLINIC.beds[0].bed]):
        print("the scanner's images were not taken: the next start sends them again", flush=True)


def programs(folder: Path, ports: Ports) -> list[Program]:
    """Return the demo's processes in the order of their start."""

    def page(name: str, port: int) -> Program:
        command = ["cloud_hub" if name == "hub" else "edge_node", "serve", "--config", str(folder / f"{name}.toml")]
        if name == "hub":
            command += ["--pids", str(folder / "hub" / "pids.json")]
        return Program(name, command, lambda: until_up(name, f"http://127.0.0.1:{port}/readyz"))

    def ward(site: Site) -> Program:
        return Program(
            f"ward-{site.node.removeprefix('edge-')}",
            ["edge_node.devices.simulated", "ward", "--file", str(folder / f"{site.node}-ward.toml")],
        )

    return [
        page("hub", ports.web),
        *(page(site.node, ports.page(site)) for site in SITES),
        *(ward(site) for site in SITES),
    ]


async def follow_broker(troupe: Troupe, pids: Path) -> None:
    """Copy the broker's process id, which only the hub knows, into processes.json whenever it changes."""
    while True:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            broker = json.loads(pids.read_text()).get("broker")
            if broker and troupe.pids.get("broker") != broker:
                troupe.note("broker", broker)
        await asyncio.sleep(0.3)


def greet(accounts: dict[str, dict[str, str]], ports: Ports) -> None:
    """Print who may sign in where, then the ready line."""
    for name, account in accounts.items():
        first, second = account.values()
        print(f"  {name:10} {first:10} {second}")
    print(f"bedside: http://127.0.0.1:{ports.page(CLINIC)} (clinic), http://127.0.0.1:{ports.page(SITES[1])} (home)")
    print(f"ready: http://127.0.0.1:{ports.web}", flush=True)


async def perform(folder: Path, ports: Ports, record: str) -> None:
    """Run the demo until SIGINT, SIGTERM or SIGHUP."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A terminal that is closed ends the demo as well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    accounts = prepare(folder, ports, record)
    leftovers = end_leftovers(folder)
    if leftovers:
        print(f"an earlier demo was killed; ended what it left behind: {', '.join(leftovers)}")
    await first_time(folder)
    troupe = Troupe(folder)
    cast = programs(folder, ports)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow_broker(troupe, folder / "hub" / "pids.json"))]
        try:
            tasks.extend(group.create_task(troupe.play(program)) for program in cast)
            for program in cast:
                if program.ready is not None:
                    await program.ready()
            greet(accounts, ports)
            tasks.append(group.create_task(show_images(folder, ports)))
            await stop.wait()
            print("stopping ...", flush=True)
        finally:
            await troupe.stop([program.name for program in reversed(cast)])
            for task in tasks:
                task.cancel()


def main() -> None:
    """Run the demo from the environment: PORT_OFFSET for a second one, RECORD for a recording to play."""
    offset = int(os.environ.get("PORT_OFFSET") or 0)
    record = os.environ.get("RECORD") or ""
    folder = Path("var") / ("demo" if offset == 0 else f"demo-{offset}")
    asyncio.run(perform(folder.resolve(), Ports(offset), str(Path(record).resolve()) if record else ""))


if __name__ == "__main__":
    main()

"""What the browser tests of a consult share: Chromium with fake devices, and pages that run the real session."""

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright
from telemed.screen import SignalView

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "cloud_hub" / "web" / "ui"
ROLLDOWN = UI / "node_modules" / "rolldown" / "bin" / "cli.mjs"
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
ENTRY = """
import { ConsultSession } from "%s";
window.join = async (side, active, wantVideo) => {
  const video = document.createElement("video");
  video.id = "remote";
  document.body.append(video);
  const session = new ConsultSession({
    side, consultId: window.consultId ?? "c1", bedKey: "clinic:B01", wantVideo,
    send: window.outlet ?? ((signal) => { void window.signalOut(JSON.stringify(signal)); }),
  });
  window.session = session;
  window.vitals = [];
  session.onVitals((vitals) => window.vitals.push(vitals));
  session.attachRemote(video);
  await session.start(active);
};
// The same on a real live socket, signed in at the face that served this page.
window.signIn = async (username, password) => {
  const answer = await fetch("/api/v1/session", { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }) });
  window.csrf = (await answer.json()).csrf_token;
  window.consults = {};
  window.types = {};
  openSocket();
  await new Promise((resolve, reject) => { window.socket.onopen = resolve; window.socket.onerror = reject; });
  return answer.status;
};
const openSocket = () => {
  window.socket = new WebSocket(`ws://${location.host}/api/v1/live`);
  window.socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    window.types[message.type] = (window.types[message.type] ?? 0) + 1;
    for (const consult of message.consults ?? [message.consult].filter(Boolean)) {
      window.consults[consult.consult_id] = consult;
      if (window.session && consult.state === "active") window.session.activate();
    }
    if (message.type === "signal" && window.session) window.session.receive(message.signal);
  };
  // As the product's own socket: it comes back by itself.
  window.socket.onclose = () => { if (window.session) setTimeout(openSocket, 300); };
};
window.post = async (path, body) => {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body ?? {}),
    headers: { "Content-Type": "application/json", "X-CSRF-Token": window.csrf } });
  return { status: answer.status, body: await answer.json() };
};
window.joinLive = async (side, consult, wantVideo) => {
  window.consultId = consult.consult_id;
  window.outlet = (signal) => {
    if (window.socket.readyState === 1) window.socket.send(JSON.stringify({ type: "signal", signal }));
  };
  // It may have been accepted since the page was told.
  const now = window.consults[consult.consult_id] ?? consult;
  await window.join(side, now.state === "active", wantVideo);
};
window.signalIn = (text) => window.session?.receive(JSON.parse(text));
window.look = () => ({ ...window.session.state, data: { ...document.getElementById("remote").dataset },
  vitals: window.vitals.length, lastVitals: window.vitals.at(-1) ?? null });
"""


def bundle(folder: Path) -> str:
    """Return the session as one script, bundled from the UI's own source."""
    entry = folder / "entry.ts"
    entry.write_text(ENTRY % (UI / "src" / "consult" / "session.ts"), encoding="utf-8")
    out = folder / "session.js"
    command = ["node", str(ROLLDOWN), str(entry), "--file", str(out), "--format", "iife"]
    subprocess.run(command, check=True, capture_output=True, cwd=UI, timeout=60)
    return out.read_text(encoding="utf-8")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium with a fake camera and microphone."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


async def open_page(browser: Browser, script: str, out: Callable[[SignalView], None]) -> Page:
    """Return a page of its own context, on an address that counts as secure, whose signals go to `out`."""
    context = await browser.new_context(permissions=["microphone", "camera"])
    page = await context.new_page()
    await page.route(
        "http://127.0.0.1:9/**", lambda route: route.fulfill(body="<body></body>", content_type="text/html")
    )
    await page.goto("http://127.0.0.1:9/")

    def take(text: str) -> None:
        out(SignalView.model_validate(json.loads(text)))

    await page.expose_function("signalOut", take)
    await page.add_script_tag(content=script)
    return page


async def look(page: Page) -> dict[str, Any]:
    """Return the session's state with the data attributes of its video element."""
    seen: dict[str, Any] = await page.evaluate("window.look()")
    return seen

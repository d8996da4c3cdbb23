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
    side, consultId: "c1", bedKey: "clinic:B01", wantVideo,
    send: (signal) => { void window.signalOut(JSON.stringify(signal)); },
  });
  window.session = session;
  window.vitals = [];
  session.onVitals((vitals) => window.vitals.push(vitals));
  session.attachRemote(video);
  await session.start(active);
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

"""The built pages in a browser, on a generated moment: what a person sees, presses and is told."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from playwright.sync_api import Browser, Locator, Page, expect
from telemed import screen

from tests.ui.server import UI, Face, build

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]
DESK, PHONE = (1440, 900), (390, 844)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium at /usr/bin/chromium"),
    pytest.mark.skipif(not (UI / "hub" / "index.html").exists(), reason="needs the built screens: make ui"),
]


@contextmanager
def serving(face: str, link: str = "") -> Iterator[tuple[str, Face]]:
    """Serve one bundle on a free port of the loopback."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app, state = build(face, link)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
        listening.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/", state
        finally:
            server.should_exit = True
            thread.join(10)


@contextmanager
def page_of(browser: Browser, size: tuple[int, int] = DESK) -> Iterator[Page]:
    """Open a page that fails the test on any error of its scripts or of its content security policy."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="zh-CN")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None)
    try:
        yield page
        assert faults == []
    finally:
        context.close()


def sign_in(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.get_by_test_id("sign-in-username").fill(name)
    page.get_by_test_id("sign-in-password").fill("any")
    page.get_by_test_id("sign-in-submit").click()
    expect(page.get_by_test_id("sign-in-submit")).to_have_count(0)


def picture(canvas: Locator) -> str:
    return str(canvas.evaluate("canvas => canvas.toDataURL()"))


def test_a_wrong_password_is_one_sentence_and_the_page_stays(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        page.goto(address)
        page.get_by_test_id("sign-in-username").fill("physician")
        page.get_by_test_id("sign-in-password").fill("wrong")
        page.get_by_test_id("sign-in-submit").click()
        expect(page.get_by_role("alert")).to_contain_text("账号或密码不对")


def test_the_walls_waves_move_at_25_frames_and_its_values_carry_their_time(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        sign_in(page, address, "physician")
        card = page.locator('[data-testid="patient-card"][data-bed="qingshi:02"]')
        wave = card.get_by_test_id("wave").first
        expect(wave).to_have_attribute("data-state", "live")
        before = picture(wave)
        page.wait_for_function("canvas => Number(canvas.dataset.fps) >= 25", arg=wave.element_handle(), timeout=20_000)
        assert picture(wave) != before
        hr = card.locator('[data-measure="hr"]').first
        expect(hr).to_have_attribute("data-state", "live")
        assert abs(time.time() * 1000 - int(hr.get_attribute("data-measured-at") or 0)) < 10_000


def test_g_and_a_letter_go_to_a_page_and_do_not_act_as_that_letter_alone(browser: Browser) -> None:
    with serving("hub") as (address, state), page_of(browser) as page:
        sign_in(page, address, "physician")
        expect(page.get_by_test_id("alarm-accept").first).to_be_visible()
        for letter, name in (("a", "alarms"), ("w", "wall"), ("p", "patient"), ("w", "wall"), ("i", "images")):
            page.keyboard.press("g")
            page.keyboard.press(letter)
            page.wait_for_url(f"**/#/{name}")
        assert state.alarms["alarm-1"].accepted_by is None
        assert state.alarms["alarm-1"].audio_paused_until_ms is None


def test_a_lost_sites_values_look_old_and_a_replay_carries_its_strip(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        sign_in(page, address, "physician")
        lost = page.locator('[data-testid="patient-card"][data-bed="heming:家1"]')
        expect(lost.locator('[data-measure="hr"]').first).to_have_attribute("data-state", "stale")
        expect(lost.get_by_test_id("stale")).to_contain_text("非当前")
        replayed = page.locator('[data-testid="patient-card"][data-bed="heming:演示"]')
        expect(replayed.get_by_test_id("not-live")).to_contain_text("回放数据，不报警不入档")


def test_nothing_claims_to_be_current_15_s_after_the_feed_fell_silent(browser: Browser) -> None:
    with serving("hub") as (address, state), page_of(browser) as page:
        sign_in(page, address, "physician")
        card = page.locator('[data-testid="patient-card"][data-bed="qingshi:02"]')
        expect(card.locator('.reading[data-state="live"]').first).to_be_visible()
        state.silent = True
        expect(page.get_by_test_id("feed-lost")).to_contain_text("床旁报警仍响", timeout=15_000)
        expect(page.locator('.reading[data-state="live"]')).to_have_count(0)
        # Nor does a connection that is made anew, and brings nothing, make them current.
        page.wait_for_timeout(3000)
        assert page.locator('.reading[data-state="live"]').count() == 0


def test_one_press_accepts_an_alarm_and_its_conversation_says_who_has_it(browser: Browser) -> None:
    with serving("hub") as (address, state), page_of(browser) as page:
        sign_in(page, address, "physician")
        page.get_by_test_id("alarm-accept").first.click()
        expect(page.get_by_test_id("accepted-by").first).to_contain_text("杜仲 医师")
        accepted_by = state.alarms["alarm-1"].accepted_by
        assert accepted_by is not None


def test_an_alarm_on_the_screen_for_two_seconds_is_reported_as_seen(browser: Browser) -> None:
    with serving("hub") as (address, state), page_of(browser) as page:
        sign_in(page, address, "physician")
        page.bring_to_front()
        page.wait_for_timeout(4000)
        seen = [message["alarm_ids"] for kind, message in state.posted if kind == "seen"]
        assert "alarm-1" in seen[0]


def test_the_patient_page_shows_all_seven_parts_and_a_missing_one_is_named(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        sign_in(page, address, "physician")
        page.locator('[data-testid="patient-card"][data-bed="qingshi:04"]').click()
        parts = page.get_by_test_id("news2").locator("tr")
        expect(parts).to_have_count(7)
        expect(page.locator('tr[data-part="acvpu"]')).to_contain_text("缺")
        expect(page.get_by_test_id("news2")).to_contain_text("≥")
        expect(page.get_by_test_id("trends").locator("canvas").first).to_be_visible()


def test_one_press_takes_a_referral_at_its_level(browser: Browser) -> None:
    with serving("hub") as (address, state), page_of(browser) as page:
        sign_in(page, address, "physician")
        page.goto(f"{address}#/queue")
        expect(page.get_by_test_id("referral-row")).to_have_count(4)
        page.get_by_test_id("triage-accept").click()
        expect(page.get_by_test_id("referral-detail")).to_have_attribute("data-state", "ACCEPTED")
        sent = next(body for kind, body in state.posted if kind == "move")
        assert (sent["action"], sent["level"], sent["version"]) == ("triage-accept", "T0", 1)


def test_t0_is_sent_in_three_presses_with_the_hub_gone(browser: Browser) -> None:
    with serving("bedside", "lost") as (address, state), page_of(browser) as page:
        sign_in(page, address, "clinic")
        page.get_by_test_id("new-referral").click()
        page.locator('[data-testid="t0-bed"][data-bed="qingshi:03"]').click()
        expect(page.get_by_test_id("t0-offline")).to_contain_text("120")
        expect(page.get_by_test_id("t0-offline")).to_contain_text("028-0000-1111")
        page.get_by_test_id("referral-submit").click()
        expect(page.get_by_test_id("referral-progress")).to_contain_text("已存本站")
        body = next(body for kind, body in state.posted if kind == "referral")
        assert (body["bed_key"], body["level_claim"], body["last_known_well_code"]) == ("qingshi:03", "T0", "unknown")
        assert body["referral_id"][14] == "7"


def test_f9_opens_t0_and_escape_keeps_the_draft(browser: Browser) -> None:
    with serving("bedside", "live") as (address, _), page_of(browser) as page:
        sign_in(page, address, "clinic")
        expect(page.get_by_test_id("patient-card").first).to_be_visible()
        page.keyboard.press("F9")
        page.get_by_role("button", name="一侧无力").click()
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("t0-panel")).to_have_count(0)
        page.keyboard.press("F9")
        expect(page.get_by_role("button", name="一侧无力")).to_have_attribute("aria-pressed", "true")


def test_consciousness_is_entered_in_two_taps(browser: Browser) -> None:
    with serving("bedside", "live") as (address, state), page_of(browser) as page:
        sign_in(page, address, "clinic")
        page.get_by_test_id("observe").first.click()
        page.get_by_test_id("acvpu-V").click()
        expect(page.get_by_text("已存", exact=True)).to_be_visible()
        assert ("observations qingshi:01", {"acvpu": "V", "oxygen": "", "o2_flow_l_min": None}) in state.posted


def ringing(state: Face) -> None:
    consult = screen.Consult(
        consult_id="consult-7",
        bed_key="qingshi:01",
        state="ringing",
        caller=screen.Text2(zh="杜仲 医师", en="Dr Du"),
        started_at_ms=int(time.time() * 1000),
    )
    state.tell(screen.ConsultMessage(consult=consult))


def signals(state: Face) -> list[tuple[str, str]]:
    sent = [message["signal"] for kind, message in list(state.posted) if kind == "signal"]
    return [(signal["consult_id"], signal["kind"]) for signal in sent]


def test_one_press_answers_a_call_and_shows_the_physicians_picture(browser: Browser) -> None:
    with serving("bedside", "live") as (address, state), page_of(browser) as page:
        sign_in(page, address, "clinic")
        expect(page.get_by_test_id("patient-card").first).to_be_visible()
        ringing(state)
        expect(page.get_by_test_id("call-bar")).to_contain_text("杜仲 医师 来电 · 01 谷雨生")
        page.get_by_test_id("accept-call").click()
        expect(page.get_by_test_id("remote-video")).to_be_visible()
        expect(page.get_by_test_id("patient-card").first).to_be_visible()
        page.wait_for_timeout(500)
        assert ("consult-7", "accept") in signals(state)
        page.get_by_test_id("hang-up").click()
        page.wait_for_timeout(500)
        assert ("consult-7", "bye") in signals(state)


def test_a_call_can_be_taken_to_the_telephone(browser: Browser) -> None:
    with serving("bedside", "live") as (address, state), page_of(browser) as page:
        sign_in(page, address, "clinic")
        expect(page.get_by_test_id("patient-card").first).to_be_visible()
        ringing(state)
        page.get_by_role("button", name="改用电话").click()
        page.wait_for_timeout(500)
        assert signals(state) == [("consult-7", "decline")]


def test_alt_l_switches_the_language_of_every_page(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        sign_in(page, address, "physician")
        expect(page.get_by_role("link", name="工作队列")).to_be_visible()
        page.keyboard.press("Alt+l")
        expect(page.get_by_role("link", name="Queue")).to_be_visible()
        for route in ("queue", "alarms", "patient/qingshi%3A01", "sites"):
            page.goto(f"{address}#/{route}")
            expect(page.get_by_test_id("language-switch")).to_have_text("中文")


@pytest.mark.parametrize("size", [PHONE, (720, 450)], ids=["a phone", "a desk at 200 %"])
def test_every_page_fits_its_width(browser: Browser, size: tuple[int, int]) -> None:
    with serving("hub") as (address, _), page_of(browser, size) as page:
        sign_in(page, address, "physician")
        for route in (
            "wall",
            "queue",
            "queue/0193a000-0000-7000-8000-000000000001",
            "alarms",
            "images",
            "patient/qingshi%3A01",
            "sites",
        ):
            page.goto(f"{address}#/{route}")
            page.wait_for_timeout(300)
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, route


def test_the_sites_page_says_what_the_nightly_comparison_found(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        sign_in(page, address, "operator")
        page.goto(f"{address}#/sites")
        expect(page.get_by_test_id("compared")).to_have_count(3)
        expect(page.get_by_test_id("compared").filter(has_text="无缺失")).to_have_count(2)
        expect(page.get_by_test_id("compared").filter(has_text="已补回 12")).to_have_count(1)
        page.keyboard.press("Alt+l")
        expect(page.get_by_test_id("compared").filter(has_text="12 healed")).to_have_count(1)


def test_a_patient_says_how_far_the_hub_is_and_of_a_silent_site_since_when_nothing_is_known(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        sign_in(page, address, "physician")
        waits = page.locator('[data-testid="patient-card"][data-bed="qingshi:02"]')
        expect(waits.get_by_test_id("tile-sync")).to_contain_text("已同步至")
        expect(page.locator('[data-bed="qingshi:01"]').get_by_test_id("tile-sync")).to_have_count(0)
        for bed, words in (("qingshi:01", "无待传"), ("qingshi:02", "待传 180（3 分）"), ("heming:家1", "之后未知")):
            page.goto(f"{address}#/patient/{quote(bed)}")
            expect(page.get_by_test_id("sync-state")).to_contain_text(words)


def test_the_caregiver_reads_one_sentence_first_and_numbers_on_request(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser, PHONE) as page:
        sign_in(page, address, "caregiver")
        expect(page.get_by_test_id("care-sentence")).to_contain_text("现在平稳")
        expect(page.locator(".care-numbers")).to_have_count(0)
        page.get_by_role("button", name="看数字").click()
        expect(page.locator(".care-numbers")).to_contain_text("108/64")


def test_a_session_that_ended_leads_back_to_the_sign_in(browser: Browser) -> None:
    with serving("hub") as (address, _), page_of(browser) as page:
        sign_in(page, address, "physician")
        expect(page.get_by_test_id("patient-card").first).to_be_visible()
        page.get_by_test_id("sign-out").click()
        expect(page.get_by_test_id("sign-in-submit")).to_be_visible()
        expect(page.get_by_test_id("patient-card")).to_have_count(0)

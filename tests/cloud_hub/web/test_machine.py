"""Browsers and systems are told apart, and nothing that a browser writes comes through."""

import pytest

from cloud_hub.web.machine import family

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "machine"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/140.0 Safari/537.36 Edg/140.0", "Windows, Edge"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Linux, Firefox"),
        (f"Mozilla/5.0 (Linux; Android 14; V2309A) {WEBKIT} Chrome/130.0 Mobile Safari/537.36", "Android, Chrome"),
        (
            f"Mozilla/5.0 (Phone; OpenHarmony 5.0) {WEBKIT} HuaweiBrowser/5.0",
            "HarmonyOS, Huawei Browser",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Safari/604.1",
            "iPhone, Safari",
        ),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/140.0 Safari/537.36", "macOS, Chrome"),
        (f"Mozilla/5.0 (Linux; Android 13) {WEBKIT} Chrome/116.0 MicroMessenger/8.0", "Android, WeChat"),
        ("python-httpx/0.28", ""),
        ("<script>alert(1)</script> Firefox/1", "Firefox"),
        ("", ""),
    ],
)
def test_a_browser_is_told_by_its_system_and_its_name(user_agent: str, machine: str) -> None:
    assert family(user_agent) == machine

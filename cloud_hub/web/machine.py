"""What a browser says that it runs on, in few words: enough for people to know their own machines by (pure)."""

from starlette.requests import HTTPConnection

_SYSTEMS = (
    ("HarmonyOS", "HarmonyOS"),
    ("OpenHarmony", "HarmonyOS"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_BROWSERS = (
    ("MicroMessenger/", "WeChat"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("QQBrowser/", "QQ Browser"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""The first that stands in the text counts: most browsers name those too that they descend from."""


def family(user_agent: str) -> str:
    """Return system and browser, e.g. `Windows, Edge`; what is not known is left out.

    Nothing of the text itself comes through, so no page shows what a stranger wrote there.
    """
    found = (next((name for mark, name in table if mark in user_agent), "") for table in (_SYSTEMS, _BROWSERS))
    return ", ".join(name for name in found if name)


def machine_of(connection: HTTPConnection) -> str:
    """Return the same of whoever asks."""
    return family(connection.headers.get("user-agent", ""))

"""Production may not be started without the second factor (decision 15)."""

from pathlib import Path

import pytest

from cloud_hub.config import load
from cloud_hub.errors import ConfigRefused

TEXT = """region = "baoshan"
name_zh = "中心"
name_en = "Hub"
demo = {demo}
[store]
samples_url = "sqlite:///samples.db"
care_url = "sqlite:///care.db"
[broker]
secrets_file = "broker.json"
[web]
totp_required = {totp}
"""


@pytest.mark.parametrize(("demo", "totp"), [("true", "false"), ("true", "true"), ("false", "true")])
def test_a_demo_may_go_without_and_production_with_it(tmp_path: Path, demo: str, totp: str) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(TEXT.format(demo=demo, totp=totp))
    assert load(file).web.totp_required is (totp == "true")


def test_production_without_it_is_refused_with_the_key_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(TEXT.format(demo="false", totp="false"))
    with pytest.raises(ConfigRefused, match=r"hub.toml.*web.totp_required = false is allowed in a demo only"):
        load(file)


@pytest.mark.parametrize("offset", ["8", "+8:00", "+25:00", "Z"])
def test_an_offset_of_the_region_that_is_none_is_refused(tmp_path: Path, offset: str) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(f'utc_offset = "{offset}"\n' + TEXT.format(demo="true", totp="false"))
    with pytest.raises(ConfigRefused, match="utc_offset"):
        load(file)

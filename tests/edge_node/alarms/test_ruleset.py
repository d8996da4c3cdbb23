"""The ruleset file: what is refused, and why."""

from pathlib import Path

import pytest

from edge_node.alarms import ruleset
from edge_node.errors import ConfigRefused

BUILT_IN = ruleset.DEFAULT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('status = "approved"', 'status = "draft"', "approved"),
        ("approved_by = [", "approved_bye = [", "approved_by"),
        ('metric = ["spo2"]', 'metric = ["sp02"]', "no such measure"),
        ('clear = { op = ">=", value = 95', 'clear = { op = ">=", value = 90', "inside"),
        ('clear = { op = ">=", value = 95', 'clear = { op = "<=", value = 95', "other way"),
        ('condition = "hr-low"', 'condition = "hr-high"', "used twice"),
        ("latch = false", "latched = false", "latch"),
        ("[applies]", "[applies", "not valid TOML"),
    ],
)
def test_a_wrong_ruleset_is_refused_with_its_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in BUILT_IN
    path = tmp_path / "rules.toml"
    path.write_text(BUILT_IN.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigRefused, match=reason):
        ruleset.load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="cannot be read"):
        ruleset.load(tmp_path / "none.toml")


def test_every_rule_has_words_in_both_languages_that_fit_its_values() -> None:
    for rule in ruleset.load().rules:
        for text in (rule.message.zh, rule.message.en):
            assert text.format(v="1", limit="2")


def test_the_warn_limits_stand_beside_a_value() -> None:
    rules = ruleset.load()
    assert rules.limits_of("hr") == ("50", "120")
    assert rules.limits_of("spo2") == ("92", None)
    assert rules.limits_of("temp") == ("35.0", "38.5")
    assert rules.limits_of("wt") == (None, None)

"""The words of an alarm, from its ruleset: value, limit and what to do, in both languages.  Pure."""

from edge_node.alarms.ruleset import Message, Ruleset
from edge_node.samples.alarm import Alarm, Finding


def text_of(rules: Ruleset, alarm: Alarm) -> tuple[str, str]:
    """Return the alarm's words in Chinese and English."""
    finding = alarm.finding
    message = _message(rules, finding)
    fields = {"v": finding.value or finding.limit, "limit": finding.limit}
    return message.zh.format(**fields), message.en.format(**fields)


def _message(rules: Ruleset, finding: Finding) -> Message:
    if finding.condition == rules.news2.condition:
        return rules.news2.message_three if "/" in finding.limit else rules.news2.message
    if finding.condition == rules.silence.condition:
        return rules.silence.message
    if finding.condition == rules.hub_silence.condition:
        return rules.hub_silence.message
    for rule in rules.rules:
        if rule.condition == finding.condition:
            return rule.message
    return rules.technical_for(finding.condition).message

"""How much of a crowd of refused sign-ins stands in the audit trail."""

from dataclasses import replace

from cloud_hub.access.refusals import KNOWN_A_MINUTE, MANY, MINUTE_NS, STRANGERS_A_MINUTE, Refusals
from cloud_hub.store.accounts import AuditEntry

ENTRY = AuditEntry(MINUTE_NS, "nobody", "", "sign-in", "account/nobody", "passkey-refused", "baoshan")


def test_a_minutes_crowd_is_told_once_and_the_next_minute_is_written_anew() -> None:
    crowd = Refusals()
    told = [crowd.told(ENTRY, is_known=False) for _ in range(STRANGERS_A_MINUTE + 5)]
    assert told[:STRANGERS_A_MINUTE] == [ENTRY] * STRANGERS_A_MINUTE
    many = told[STRANGERS_A_MINUTE]
    assert many is not None
    assert (many.actor, many.target, many.result) == ("", "account", MANY)
    assert told[STRANGERS_A_MINUTE + 1 :] == [None] * 4
    later = replace(ENTRY, at_ns=2 * MINUTE_NS)
    assert crowd.told(later, is_known=False) == later


def test_a_crowd_that_names_nobody_does_not_hide_what_is_tried_on_an_account() -> None:
    crowd = Refusals()
    for _ in range(STRANGERS_A_MINUTE + 5):
        crowd.told(ENTRY, is_known=False)
    tried = replace(ENTRY, actor="clinic", target="account/clinic")
    assert [crowd.told(tried, is_known=True) for _ in range(KNOWN_A_MINUTE)] == [tried] * KNOWN_A_MINUTE

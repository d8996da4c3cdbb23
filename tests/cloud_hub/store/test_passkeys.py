"""Keys in the care database, on both databases."""

from dataclasses import replace

from cloud_hub.store import passkeys
from cloud_hub.store.engine import Database
from cloud_hub.store.passkeys import Passkey

KEY = Passkey("physician", b"c" * 1023, b"public", 5, b"handle", "钥匙", ("usb", "nfc"), 1)


def test_a_key_is_one_accounts_and_is_found_by_its_credential(care_db: Database) -> None:
    other = replace(KEY, credential_id=b"d", made_ns=2)
    assert care_db.write_blocking(lambda c: passkeys.add(c, KEY))
    assert care_db.write_blocking(lambda c: passkeys.add(c, other))
    assert not care_db.write_blocking(lambda c: passkeys.add(c, replace(KEY, username="clinic")))
    assert care_db.read_blocking(lambda c: passkeys.of_account(c, "physician")) == [KEY, other]
    assert care_db.read_blocking(lambda c: passkeys.by_credential(c, KEY.credential_id)) == KEY
    assert care_db.read_blocking(lambda c: passkeys.by_credential(c, b"c")) is None
    assert not care_db.write_blocking(lambda c: passkeys.remove(c, "clinic", KEY.key_id))
    assert care_db.write_blocking(lambda c: passkeys.remove(c, "physician", KEY.key_id))
    assert care_db.read_blocking(lambda c: passkeys.count(c, "physician")) == 1
    assert care_db.write_blocking(lambda c: passkeys.forget(c, "physician")) == 1


def test_a_use_counts_only_from_the_counter_that_was_seen(care_db: Database) -> None:
    care_db.write_blocking(lambda c: passkeys.add(c, KEY))
    assert care_db.write_blocking(lambda c: passkeys.use(c, KEY, 6, 9))
    assert not care_db.write_blocking(lambda c: passkeys.use(c, KEY, 7, 10))
    used = care_db.read_blocking(lambda c: passkeys.by_credential(c, KEY.credential_id))
    assert used == replace(KEY, sign_count=6, used_ns=9)

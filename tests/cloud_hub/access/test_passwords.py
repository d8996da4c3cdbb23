"""Which passwords may be taken into use."""

import pytest

from cloud_hub.access.passwords import check_new


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "at least 12"),
        ("elevenchars", "at least 12"),
        ("password1234", "breached"),
        ("Password1234", "breached"),
        ("qwertyuiopasdfghjkl2024!", "breached"),
        ("aaaaaaaaaaaa", "pattern"),
        ("abcabcabcabcab", "pattern"),
        ("opqrstuvwxyz", "pattern"),
        ("zyxwvutsrqponm", "pattern"),
        ("huangqi.1950", "name of the account"),
        ("Hospital2024!", "guessed first"),
        ("yuanzhen-clinic-01", "guessed first"),
        ("远诊医院管理员2024密码", "guessed first"),
    ],
)
def test_a_guessable_password_is_refused_with_its_reason(password: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_new(password, "huangqi.195")


@pytest.mark.parametrize(
    "password",
    [
        "amber-birch-cedar-0001",
        "four random words",
        "春眠不觉晓处处闻啼鸟夜来",
        "huangqi likes amber birch",
        "no clinic likes birch",
        "k3v9x2mq7rwt",
    ],
)
def test_length_is_what_counts_and_any_letters_will_do(password: str) -> None:
    check_new(password, "huangqi")
    check_new(password)

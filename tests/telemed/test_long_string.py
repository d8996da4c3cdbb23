"""What a Long String of DICOM holds."""

import pytest
from telemed import long_string


@pytest.mark.parametrize("text", ["", "P-51018201-0093", "谷雨 \u3000头颅", "x" * 64, '"^='])
def test_words_of_one_line_fit(text: str) -> None:
    assert long_string.fits(text)


@pytest.mark.parametrize("text", ["x" * 65, "a\\b", "a\nb", "a\n", "\t", "\x7f"])
def test_what_is_too_long_or_would_be_divided_does_not(text: str) -> None:
    assert not long_string.fits(text)

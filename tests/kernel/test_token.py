"""Tokens of callbacks as text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.errors import InvalidArgument
from sagas.kernel.token import SECRET_BYTES, Token

tokens = st.builds(
    Token,
    id=st.text(string.ascii_letters, min_size=1, max_size=20),
    run_id=st.text(string.hexdigits, min_size=1, max_size=32),
    number=st.integers(1, 2**40),
    secret=st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES),
)


@given(tokens)
def test_a_token_is_read_back_and_never_taken_for_an_option_of_a_command(token: Token) -> None:
    text = token.text()
    assert Token.parse(text) == token
    assert text[0] in string.ascii_letters


@given(tokens, st.data())
def test_a_token_with_another_character_is_none(token: Token, data: st.DataObject) -> None:
    text = token.text()
    at = data.draw(st.integers(0, len(text) - 2))  # of the last one some bits are padding
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_").filter(lambda c: c != text[at]))
    with pytest.raises(InvalidArgument):
        Token.parse(text[:at] + other + text[at + 1 :])

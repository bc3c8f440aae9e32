"""Codecs at the doors: what goes out sealed comes back, with the right key only, and says nothing of itself."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagas import CodecError, InvalidArgument, PayloadError
from sagas.limits import LIMITS
from sagas.payloads import Signature, decode, encode, prepend, sealing
from tests.payloads.codecs import Know, Xor, know

__all__ = ["know"]

a, b = Xor("a", 0x33), Xor("b", 0x77)
same_codecs = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=20,
)


def call(first: object, second: object = None, *, third: object = None) -> object: ...


@same_codecs
@given(value=values, more=values)
def test_everything_comes_back_through_a_codec_and_through_its_rotation(
    know: Know, value: object, more: object
) -> None:
    signature = Signature.of(call)
    know()
    plain = encode(value), signature.encode((value,), {"third": more})
    know(a)
    old = encode(value), signature.encode((value,), {"third": more})
    know(b, a)
    new = encode(value), signature.encode((value,), {"third": more})
    for result, args in (plain, old, new):
        assert decode(result) == value
        assert signature.decode(args) == ((value,), {"third": more})
        assert decode(prepend(result, args))[0] == value
    assert sealing.is_sealed(prepend(*plain)), "what is written now is sealed, whatever it was made of"


def test_without_its_codec_a_payload_is_refused_by_the_codecs_name(know: Know) -> None:
    know(a)
    payload = encode("secret")
    know(b)
    with pytest.raises(CodecError, match="'a'") as refused:
        decode(payload)
    assert refused.value.codec == "a"
    know(Xor("a", 0x11))  # the right name, another key
    with pytest.raises(CodecError, match="another key"):
        decode(payload)


def test_words_are_sealed_inside_other_words_and_opened_where_they_can_be(know: Know) -> None:
    know(a)
    reason = f"TypeError: {sealing.sealed_words('no card 4711 of Ada')} (twice)"
    assert "4711" not in reason
    assert sealing.opened_words(reason) == "TypeError: no card 4711 of Ada (twice)"
    assert sealing.concealed_words(reason) == "TypeError: (sealed with 'a') (twice)"
    know()
    assert sealing.opened_words(reason) == "TypeError: (sealed with 'a') (twice)"


def test_words_that_only_look_sealed_stand_as_they_are_named(know: Know) -> None:
    know(a)
    assert sealing.opened_words("[sealed a !!!] and [sealed a AAAA]") == "[sealed a !!!] and (sealed with 'a')"


@pytest.mark.parametrize("wrong", [object(), Xor(""), Xor("two words"), Xor("x" * 65)])
def test_what_is_no_codec_is_refused(know: Know, wrong: Xor) -> None:
    know(a)
    with pytest.raises(InvalidArgument, match="no codec"):
        sealing.use_codec(wrong)
    assert sealing.is_sealed(encode(1)), "the one before still writes"


def test_a_codec_that_breaks_is_a_payload_error_of_its_own_words(know: Know) -> None:
    class Broken(Xor):
        def encode(self, data: bytes, /) -> bytes:
            raise OSError("the key server is away")

    know(Broken("broken"))
    with pytest.raises(PayloadError, match="OSError: the key server is away"):
        encode(1)


def test_a_payload_that_is_too_large_is_refused_where_it_is_made() -> None:
    with pytest.raises(PayloadError, match="too large"):
        encode(b"x" * LIMITS.payload_bytes)
    with pytest.raises(PayloadError, match="too large"):
        Signature.of(call).encode((b"x" * LIMITS.payload_bytes,), {})

"""Which headers pass, as laws over arbitrary headers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.request import headers

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20).map(str.encode)
KNOWN = st.sampled_from(sorted(headers.NOT_TO_BACKEND | headers.NOT_TO_CLIENT))
OURS = st.sampled_from(
    [b"x-olla-endpoint", b"x-olla-request-id", b"proxy-connection", b"proxy-authorization"]
)
NAME = st.one_of(TOKEN, KNOWN, OURS)
VALUE = st.binary(max_size=40)
KIND = st.sampled_from(["plain", "stream"])
PAIRS = st.lists(st.tuples(NAME, VALUE), max_size=15)


@given(pairs=PAIRS, kind=KIND)
def test_no_credential_and_nothing_of_this_hop_reaches_the_backend(
    pairs: list[tuple[bytes, bytes]], kind: str
) -> None:
    names = {name for name, _ in headers.to_backend(pairs, stream=kind == "stream")}

    assert not names & headers.NOT_TO_BACKEND
    assert not any(name.startswith(b"proxy-") for name in names)
    assert b"x-olla-request-id" not in names


@given(pairs=PAIRS, named=st.lists(TOKEN, max_size=4))
def test_what_connection_names_ends_here(pairs: list[tuple[bytes, bytes]], named: list[bytes]) -> None:
    given_pairs = [*pairs, (b"connection", b", ".join([b"close", *named]).upper())]

    sent = {name for name, _ in headers.to_backend(given_pairs, stream=False)}
    back = {name for name, _ in headers.to_client(given_pairs, stream=False)}

    assert not (sent | back) & set(named)


@given(pairs=PAIRS)
def test_the_order_and_values_of_what_passes_stay(pairs: list[tuple[bytes, bytes]]) -> None:
    for result in (
        headers.to_backend(pairs, stream=False),
        headers.to_client(pairs, stream=False),
    ):
        rest = iter(pairs)
        assert all(pair in rest for pair in result if pair not in headers.SANDBOXED)


@given(pairs=PAIRS, kind=KIND)
def test_a_backend_sends_no_cookie_no_olla_header_and_no_control_character(
    pairs: list[tuple[bytes, bytes]], kind: str
) -> None:
    result = headers.to_client(pairs, stream=kind == "stream")

    names = {name for name, _ in result}
    assert b"set-cookie" not in names
    assert not any(name.startswith((b"x-olla-", b"access-control-")) for name in names)
    assert not any(headers.CONTROL.search(value) for _, value in result)


@given(pairs=PAIRS, own=PAIRS)
def test_an_endpoints_own_headers_win(
    pairs: list[tuple[bytes, bytes]], own: list[tuple[bytes, bytes]]
) -> None:
    result = headers.with_own(pairs, own)

    names = {name for name, _ in own}
    assert [pair for pair in result if pair[0] in names] == own
    assert [pair for pair in result if pair[0] not in names] == [
        pair for pair in pairs if pair[0] not in names
    ]


@given(words=st.text(max_size=400))
def test_any_text_can_stand_in_a_header(words: str) -> None:
    value = headers.text(words)

    assert value.isascii()
    assert not headers.CONTROL.search(value)
    assert len(value) <= headers.MAX_TEXT_LENGTH


def test_plain_text_stands_as_it_is() -> None:
    assert headers.text("mlx-community/Llama-3.2 (4bit)") == b"mlx-community/Llama-3.2 (4bit)"


def forwarding(*pairs: tuple[bytes, bytes], trusted: bool = False) -> dict[bytes, bytes]:
    return dict(headers.forwarding(pairs, peer="10.0.0.1", trusted=trusted, scheme="http", client="1.2.3.4"))


def identifying(*pairs: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    return dict(headers.identifying(dict(pairs), b"req_1"))


def test_an_inbound_via_is_continued() -> None:
    assert forwarding((b"via", b"1.1 first"))[b"via"] == b"1.1 first, 1.1 olla"


def test_a_trace_is_continued_with_a_span_of_our_own() -> None:
    trace = b"4bf92f3577b34da6a3ce929d0e0e4736"
    sent = identifying((b"traceparent", b"00-" + trace + b"-00f067aa0ba902b7-01"), (b"tracestate", b"a=1"))

    version, trace_id, span, flags = sent[b"traceparent"].split(b"-")
    assert (version, trace_id, flags) == (b"00", trace, b"01")
    assert span != b"00f067aa0ba902b7"
    assert sent[b"tracestate"] == b"a=1"


def test_a_broken_trace_is_dropped() -> None:
    sent = identifying((b"traceparent", b"00-zz-00f067aa0ba902b7-01"), (b"tracestate", b"a=1"))

    assert b"traceparent" not in sent
    assert b"tracestate" not in sent


def test_a_stream_asks_for_no_compression_once() -> None:
    sent = headers.to_backend([(b"accept-encoding", b"gzip, br")], stream=True)

    assert sent == [(b"accept-encoding", b"identity")]

"""A body with another model's name: that name changes, and no other byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from proxy.request.bodies import pieces_of
from proxy.request.rewrite import with_model

JSON = some.recursive(
    some.none() | some.booleans() | some.floats(allow_nan=False) | some.text() | some.just("model"),
    lambda inner: some.lists(inner) | some.dictionaries(some.text() | some.just("model"), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"a"}', b'{"model":"b"}'),
        (
            b' { "x" : 1 ,\n"model"  :\t"a" , "y":[{"model":"a"}]} ',
            b' { "x" : 1 ,\n"model"  :\t"b" , "y":[{"model":"a"}]} ',
        ),
        (b'{"user":"model","model":"a"}', b'{"user":"model","model":"b"}'),
        (b'{"x":"\\"model\\":","model":"a"}', b'{"x":"\\"model\\":","model":"b"}'),
        (b'{"x":"\\\\","model":"a"}', b'{"x":"\\\\","model":"b"}'),
        (b'{"x":"%s\\"","model":"a"}' % (b"\\\\" * 100), b'{"x":"%s\\"","model":"b"}' % (b"\\\\" * 100)),
        (b'{"x":"\\"%s","model":"a"}' % (b"y" * 100), b'{"x":"\\"%s","model":"b"}' % (b"y" * 100)),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"b"}'),
        (b'{"model":"a","model":"c"}', b'{"model":"b","model":"b"}'),
        (b'{"model":null,"model":"a"}', b'{"model":null,"model":"b"}'),
        (b'{"x":{"model":"a"},"model":"a","z":1e5}', b'{"x":{"model":"a"},"model":"b","z":1e5}'),
    ],
)
def test_only_the_name_changes(before: bytes, after: bytes) -> None:
    assert with_model(before, "b") == after


@given(
    body=some.dictionaries(some.text(), JSON), indent=some.sampled_from([None, 0, 3]), plain=some.booleans()
)
def test_any_body_keeps_everything_else(*, body: dict[str, object], indent: int | None, plain: bool) -> None:
    written = json.dumps({**body, "model": "old"}, indent=indent, ensure_ascii=plain).encode()

    changed = json.loads(b"".join(pieces_of(with_model(written, 'né"w'))))

    assert changed == {**json.loads(written), "model": 'né"w'}

"""What an answer must look like: OpenAI's `response_format` and vLLM's `structured_outputs`, read.

Whichever it was, it becomes a grammar of llguidance, which is compiled in grammars.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher

from inference.http.fields import BAD_REQUEST, check_strings, invalid_type, invalid_value, unsupported
from ollaproject.wire.openai_errors import ApiError

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

    from inference.http.fields import Fields

MAX_CHOICES = 1000
GUIDED = ("json", "regex", "choice", "grammar")
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
ASCII_CLASSES = {"d": "[0-9]", "D": "[^0-9]", "w": "[0-9A-Za-z_]", "W": "[^0-9A-Za-z_]"}
LARK_PARTS = re.compile(
    r"""(?P<other> "(?:\\.?|[^"\\])*(?:"|\Z) | (?://|\#)[^\n]* ) | (?P<regex> /(?:\\.?|[^/\\])+(?:/|\Z) )""",
    re.DOTALL | re.VERBOSE,
)
"""Strings and comments, in which no pattern begins, and patterns. One without an end goes on to the last
character, lest others be looked for within it."""
ANY_OBJECT = {"type": "object"}
WHITESPACE = r"[ \t\r\n]{1,24}"
"""What may stand between the parts of JSON: enough to indent, too little to go on for ever."""


BLANK = f"BLANK: /{WHITESPACE}/"
"""Its definition in Lark's notation."""


@dataclass(frozen=True, slots=True)
class Structure:
    """`param` is the field of the request that asked for it, `grammar` what llguidance compiles."""

    param: str
    grammar: str


def read_structure(fields: Fields) -> Structure | None:
    """What the request asks for, None when it asks for nothing. ApiError when it asks twice."""
    asked = [each for each in (_response_format(fields), _structured_outputs(fields)) if each is not None]
    if len(asked) > 1:
        raise invalid_value(asked[1].param, f"Give either '{asked[0].param}' or '{asked[1].param}'.")
    if not asked:
        return None
    check_ending(fields, asked[0].param)
    return asked[0]


def check_ending(fields: Fields, param: str) -> None:
    """ApiError when the request has another say in where the answer ends than the grammar of `param`."""
    for name in ("ignore_eos", "min_tokens"):
        if fields.get(name):
            message = f"'{name}' cannot go with '{param}', which decides where the answer ends."
            raise unsupported(name, message)


def json_grammar(schema: Any, param: str, *, lenient: bool = False) -> str:
    """JSON that conforms to `schema`; `lenient` lets keywords pass that cannot be enforced.

    ApiError that names `param` when it holds an integer of more than 64 bits.
    """
    try:
        return LLMatcher.grammar_from_json_schema(schema, overrides=_options(lenient=lenient))
    except ValueError as error:
        raise ApiError(
            BAD_REQUEST, "invalid_grammar", f"'{param}' cannot be followed: {error}.", param=param
        ) from None


def json_until(schema: dict[str, Any], *, end: int) -> str:
    """JSON that conforms to `schema`, and behind it the token `end`."""
    described = json.dumps({**schema, "x-guidance": _options(lenient=False)})
    return LLMatcher.grammar_from_lark(
        f"start: BLANK? json BLANK? <[{end}]>\n{BLANK}\njson: %json {described}"
    )


def named(name: str, grammar: str) -> list[dict[str, Any]]:
    """A grammar that others can call `@name` in Lark's notation, and behind it those that it calls itself."""
    if not grammar.lstrip().startswith("{"):
        return [{"name": name, "lark_grammar": grammar}]
    first, *others = json.loads(grammar)["grammars"]
    return [{**first, "name": name}, *others]


def _options(*, lenient: bool) -> JsonCompileOptions:
    return {"whitespace_pattern": WHITESPACE, "lenient": lenient}


def _response_format(fields: Fields) -> Structure | None:
    chosen = fields.object("response_format")
    if chosen is None:
        return None
    kind = chosen.string("type")
    if kind == "text":
        return None
    if kind == "json_object":
        if chosen.get("schema") is not None:
            message = "'response_format.schema' is for the type 'json_schema', as 'json_schema.schema'."
            raise unsupported("response_format.schema", message)
        return Structure("response_format", json_grammar(ANY_OBJECT, "response_format"))
    if kind != "json_schema":
        known = "'text', 'json_object' or 'json_schema'"
        raise invalid_value("response_format.type", f"'response_format.type' must be {known}, not '{kind}'.")
    described = chosen.require_object("json_schema")
    schema = described.require_object("schema")
    described.boolean("strict")  # the schema is always honoured, so only the type matters
    param = "response_format.json_schema.schema"
    return Structure(param, json_grammar(schema.as_dict(), param))


def _structured_outputs(fields: Fields) -> Structure | None:
    """One of vLLM's ways, in its new form (an object) or in its old one (`guided_...`)."""
    options = fields.object("structured_outputs")
    named = options.as_dict() if options is not None else {}
    given = [(f"structured_outputs.{name}", name, value) for name, value in named.items()]
    given += [(f"guided_{name}", name, fields.get(f"guided_{name}")) for name in GUIDED]
    asked = [_guided(*each) for each in given if not _asks_nothing(*each[1:])]
    if len(asked) > 1:
        raise invalid_value(asked[1].param, f"Give either '{asked[0].param}' or '{asked[1].param}'.")
    return asked[0] if asked else None


def _asks_nothing(kind: str, value: Any) -> bool:
    return value is None or (kind == "json_object" and value is False)


def _guided(param: str, kind: str, value: Any) -> Structure:
    match kind:
        case "json":
            return Structure(param, json_grammar(_schema(param, value), param))
        case "json_object" if value is True:
            return Structure(param, json_grammar(ANY_OBJECT, param))
        case "json_object":
            raise invalid_type(param, "a boolean", value)
        case "regex":
            return Structure(param, LLMatcher.grammar_from_regex(_ascii(_text(param, value))))
        case "choice":
            return Structure(param, LLMatcher.grammar_from_lark(_choice(param, value)))
        case "grammar":
            return Structure(param, LLMatcher.grammar_from_lark(_ascii_in_lark(_text(param, value))))
        case _:
            known = "'json', 'json_object', 'regex', 'choice' and 'grammar' (in Lark's notation)"
            raise unsupported(param, f"'{param}' is not supported. This server knows {known}.")


def _ascii(regex: str) -> str:
    r"""`\d` and `\w` as in the patterns of JSON schemas and as vLLM has them: no date has Arabic digits."""
    return ESCAPED.sub(lambda found: ASCII_CLASSES.get(found[1], found[0]), regex)


def _ascii_in_lark(grammar: str) -> str:
    return LARK_PARTS.sub(lambda found: found["other"] or _ascii(found["regex"]), grammar)


def _schema(param: str, value: Any) -> dict[str, Any]:
    """A schema as an object, or as its JSON in a string."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise invalid_value(param, f"'{param}' is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise invalid_type(param, "a JSON schema", value)
    return value


def _text(param: str, value: Any) -> str:
    if not isinstance(value, str):
        raise invalid_type(param, "a string", value)
    if not value:
        raise invalid_value(param, f"'{param}' must not be empty.")
    return value


def _lark_string(text: str) -> str:
    """In Lark's notation, which is JSON's but for DEL: it has no place there as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _choice(param: str, value: Any) -> str:
    if not isinstance(value, list):
        raise invalid_type(param, "an array of strings", value)
    check_strings(param, value)
    if not 0 < len(value) <= MAX_CHOICES or not all(value):
        raise invalid_value(param, f"'{param}' must hold 1 to {MAX_CHOICES} strings, none of them empty.")
    return "start: " + " | ".join(map(_lark_string, value))

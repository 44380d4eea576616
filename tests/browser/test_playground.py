"""The playground in a real browser: what a model writes is shown, never executed, and stops when told to."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from endpoints.choices import Span
from endpoints.models import CheckSummary, Endpoint, EndpointModel
from endpoints.routing import revision
from ollaproject.wire.clock import now
from tests.fakes import answers
from tests.fakes.answers import Gate
from tests.fakes.upstream import FakeUpstream
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.contrib.auth.models import User
    from playwright.sync_api import Page

    from tests.browser.conftest import Console, WebServer

    OpenPage = Callable[..., Page]

pytestmark = pytest.mark.browser

PATIENTLY_MS = 60_000
ROUTED_SECONDS = 60
# What would be executed, sent or shown as a form, were it ever taken for HTML.
HOSTILE = """<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>
[click](javascript:window.hacked=1) ![x](https://evil.example/x.png) <iframe src="//evil.example">
<a href="javascript:window.hacked=1">a</a>

| a | b |
|---|---|
| <b>1</b> | `2 | 3` |
"""
ANSWER = """## Three fruits

1. **Apple**
2. Pear with `code`
   - nested

```python
print("<b>hello</b>")
```

See https://example.com/docs."""


@pytest.fixture
def upstream(open_page: OpenPage, web: WebServer) -> Iterator[FakeUpstream]:
    """An endpoint that the server routes to already: it learns of a new one within a second."""
    with FakeUpstream(models=("m1", "m2")) as made:
        add_endpoint("mini-1", url=made.url, models=made.models)
        deadline = time.monotonic() + ROUTED_SECONDS
        while "m2" not in httpx.get(f"{web.url}/v1/models", trust_env=False).text:
            assert time.monotonic() < deadline, "the server does not route to the new endpoint"
            time.sleep(0.05)
        yield made


def says(text: str, *, gate: Gate | None = None) -> answers.Answer:
    """A stream of this text in pieces; before each but the first it waits for the gate."""
    events = answers.chat_events("m1", [text[at : at + 7] for at in range(0, len(text), 7)])
    usage = answers.event({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 9}})
    return answers.sse([*events[:-1], usage, events[-1]], between=gate)


def says_at_once(text: str) -> answers.Answer:
    """The same in a single piece, as from a model that is faster than its network."""
    events = answers.chat_events("m1", list(text))
    usage = answers.event({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": len(text)}})
    return answers.raw(answers.STREAM_HEAD + answers.chunk(b"".join([usage, *events])) + answers.LAST_CHUNK)


def talk(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def test_a_conversation_is_shown_measured_and_kept(
    open_page: OpenPage, member: User, upstream: FakeUpstream
) -> None:
    gate = Gate()
    upstream.answer("/v1/chat/completions", says(ANSWER, gate=gate))
    page = open_page(member)
    page.goto("/playground/")
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.5")
    talk(page, "Name fruits")
    answer = page.locator(".answer").first
    for _ in range(2):
        gate.open()
    # What comes together has no speed: the rest is on its way only when the beginning is there.
    expect(answer.locator(".markdown")).to_contain_text("Three", timeout=PATIENTLY_MS)
    upstream.answer("/v1/chat/completions", says(ANSWER))
    for _ in ANSWER:
        gate.open()
    expect(answer.locator("ol > li").first).to_have_text("Apple", timeout=PATIENTLY_MS)
    expect(answer.locator("strong")).to_have_text("Apple")
    expect(answer.locator("pre")).to_have_text('print("<b>hello</b>")')
    expect(answer.get_by_role("link", name="https://example.com/docs")).to_have_attribute(
        "rel", "noopener noreferrer nofollow"
    )
    foot = answer.locator(".answer-foot")
    for words in ("First token", "tok/s", "12 in, 9 out", "mini-1", "req_"):
        expect(foot).to_contain_text(words)
    sent = upstream.requests[-1].json()
    assert (sent["temperature"], sent["messages"][0]) == (0.5, {"role": "system", "content": "Be brief."})
    page.reload()
    expect(page.locator(".answer pre")).to_have_text('print("<b>hello</b>")')
    talk(page, "And more")
    expect(page.locator(".answer-foot dl")).to_have_count(2)
    assert [each["role"] for each in upstream.requests[-1].json()["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    page.get_by_role("button", name="Code", exact=True).click()
    expect(page.locator("#code-curl")).to_contain_text("/v1/chat/completions")
    expect(page.locator("#code-Python")).to_contain_text("temperature=0.5")


def test_an_answer_in_one_piece_has_no_speed(
    open_page: OpenPage, member: User, upstream: FakeUpstream
) -> None:
    upstream.answer("/v1/chat/completions", says_at_once("fast" * 20))
    page = open_page(member)
    page.goto("/playground/")
    talk(page, "Quick")
    foot = page.locator(".answer-foot")
    expect(foot).to_contain_text("12 in, 80 out", timeout=PATIENTLY_MS)
    expect(foot).not_to_contain_text("tok/s")


def test_nothing_that_a_model_writes_is_executed(
    open_page: OpenPage, member: User, upstream: FakeUpstream
) -> None:
    upstream.answer("/v1/chat/completions", says(HOSTILE))
    page = open_page(member)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto("/playground/")
    talk(page, "Attack")
    answer = page.locator(".answer")
    expect(answer.locator(".answer-foot dl")).to_be_visible(timeout=PATIENTLY_MS)
    expect(answer).to_contain_text('<img src=x onerror="window.hacked=1">')
    expect(answer.locator("td").nth(0)).to_have_text("<b>1</b>")
    assert answer.locator("img, script, iframe, b, form, [onerror]").count() == 0
    assert answer.locator('a[href^="javascript"]').count() == 0
    assert page.evaluate("window.hacked") is None
    assert not [url for url in fetched if "evil.example" in url]


def test_an_answer_stops_when_told_to_and_its_endpoint_is_free_again(
    open_page: OpenPage, member: User, upstream: FakeUpstream
) -> None:
    gate = Gate()
    upstream.answer("/v1/chat/completions", says("A long, long story", gate=gate))
    page = open_page(member)
    page.goto("/playground/")
    talk(page, "Tell me")
    for _ in range(2):
        gate.open()
    expect(page.locator(".answer .markdown").first).to_contain_text("A long", timeout=PATIENTLY_MS)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".answer-foot")).to_contain_text("Stopped")
    upstream.wait_for_departure()
    upstream.answer("/v1/chat/completions", says("Anew"))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".answer .markdown").first).to_have_text("Anew", timeout=PATIENTLY_MS)


def test_two_models_answer_side_by_side_and_a_refusal_is_said(
    open_page: OpenPage, member: User, upstream: FakeUpstream, console: Console
) -> None:
    console.expect("400 (Bad Request)")

    def by_model(request: answers.SeenRequest) -> Iterable[answers.Step]:
        if request.json()["model"] == "m2":
            return answers.error(400, "m2 cannot do this")(request)
        return says("Yes")(request)

    upstream.answer("/v1/chat/completions", by_model)
    page = open_page(member)
    page.goto("/playground/")
    page.get_by_role("button", name="Compare two models").click()
    talk(page, "Can you?")
    expect(page.locator(".lane").nth(0).locator(".markdown")).to_have_text("Yes", timeout=PATIENTLY_MS)
    expect(page.locator(".lane").nth(1).get_by_role("alert")).to_have_text("m2 cannot do this")


def test_tools_are_sent_and_what_a_tool_gives_goes_back(
    open_page: OpenPage, member: User, upstream: FakeUpstream
) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city": "Bern"}'}}
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    upstream.answer("/v1/chat/completions", answers.sse([answers.event(delta), b"data: [DONE]\n\n"]))
    page = open_page(member)
    page.goto("/playground/")
    tools = page.get_by_label("Tools")
    tools.fill("[{")
    expect(page.locator("#tools-error")).to_contain_text("not JSON yet")
    tools.fill(json.dumps([{"type": "function", "function": {"name": "get_weather"}}]))
    talk(page, "Weather in Bern?")
    expect(page.locator(".answer .code-language")).to_have_text("calls get_weather", timeout=PATIENTLY_MS)
    assert upstream.requests[-1].json()["tools"][0]["function"]["name"] == "get_weather"
    upstream.answer("/v1/chat/completions", says("Sunny"))
    expect(page.get_by_placeholder("What the tool gives")).to_be_visible()
    talk(page, "23 degrees")
    expect(page.locator(".answer .markdown").last).to_contain_text("Sunny", timeout=PATIENTLY_MS)
    *_, asked, given = upstream.requests[-1].json()["messages"]
    assert asked["tool_calls"][0]["id"] == given["tool_call_id"] == "call_1"
    assert (given["role"], given["content"]) == ("tool", "23 degrees")


def test_images_are_offered_only_where_the_model_reads_them(
    open_page: OpenPage, member: User, upstream: FakeUpstream
) -> None:
    EndpointModel.objects.filter(name="m2").update(capabilities=["embeddings"])
    EndpointModel.objects.filter(name="m1").update(capabilities=["chat", "vision"])
    revision.bump(routing=True)
    page = open_page(member)
    page.goto("/playground/?model=m1")
    image = page.get_by_role("button", name="Image", exact=True)
    deadline = time.monotonic() + ROUTED_SECONDS
    while image.get_attribute("title"):  # what m1 can, the server learns last
        assert time.monotonic() < deadline, "the server does not know what the models can"
        page.reload()
    expect(image).to_be_visible()
    page.locator(".lane-model").select_option("m2")
    expect(image).to_be_hidden()


def test_an_endpoint_is_tried_on_its_page_and_says_who_is_on_it(
    open_page: OpenPage, operator: User, upstream: FakeUpstream
) -> None:
    gate = Gate()
    upstream.answer("/v1/chat/completions", says("One, two, three, four", gate=gate))
    endpoint = Endpoint.objects.get()
    minute = now().replace(second=0, microsecond=0)
    for ago in range(10, 60, 5):
        CheckSummary.objects.create(
            endpoint=endpoint,
            span=Span.MINUTE,
            begins_at=minute - timedelta(minutes=ago),
            count=12,
            failures=0,
            answered=12,
            latency_sum_seconds=0.012 * ago,
            latency_max_seconds=0.002 * ago,
        )
    page = open_page(operator)
    page.goto(f"/endpoints/{endpoint.pk}/")
    expect(page.locator("#latency canvas")).to_be_visible()
    expect(page.locator("#latency-words")).to_contain_text("Mean: 10 ms to 55 ms. Longest: up to 110 ms.")
    page.get_by_label("Prompt").fill("Count")
    page.get_by_role("button", name="Send").click()
    for _ in range(2):
        gate.open()
    expect(page.locator("#trial-answer")).to_contain_text("One, two", timeout=PATIENTLY_MS)
    expect(page.locator("#traffic")).to_contain_text("1 on it now", timeout=PATIENTLY_MS)
    expect(page.locator("#traffic li").first).to_contain_text("ada Playground")
    for _ in range(10):
        gate.open()
    expect(page.locator("[data-trial=tokens]")).to_have_text("12 in, 9 out", timeout=PATIENTLY_MS)
    expect(page.locator("[data-trial=ttft]")).to_contain_text("ms")
    expect(page.locator("[data-trial=speed]")).to_contain_text("tok/s")
    assert upstream.requests[-1].json()["messages"][0]["content"] == "Count"

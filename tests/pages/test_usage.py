"""My keys and usage: what each person sees of whom, and what is left."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ollaproject.wire import clock
from proxy.access import keys
from proxy.models import BudgetReached, ModelPrice, PersonLimits, TeamLimits, UsageTotal
from proxy.reports.usage_chart import HEIGHT, SERIES, chart, largest
from proxy.reports.usage_report import OTHERS, Asked, report
from tests.pages.fleet import add_endpoint
from tests.pages.people import lead
from tests.pages.records import record

if TYPE_CHECKING:
    from django.conf import LazySettings
    from django.contrib.auth.models import Group, User
    from pytest_django import DjangoAssertNumQueries

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

USAGE = "/usage/"


def used(user: User | None = None, team: Group | None = None, **fields: Any) -> UsageTotal:
    days_ago = fields.pop("days_ago", 0)
    whose = {"user_id": user.pk, "user_name": user.get_username()} if user else {}
    of_team = {"team_id": team.pk, "team_name": team.name} if team else {}
    usual = {
        "model": "m1",
        "endpoint": "mini-1",
        "requests": 1,
        "prompt_tokens": 100,
        "completion_tokens": 10,
    }
    day = clock.now().date() - timedelta(days=days_ago)
    return UsageTotal.objects.create(day=day, **{**usual, **whose, **of_team, **fields})


# --- What is seen of whom ---


def test_each_sees_their_own_a_lead_their_team_and_an_administrator_everyone(
    signed_in: SignIn, member: User, admin_user: User, red: Group
) -> None:
    used(member, red, model="mine-model")
    used(None, red, model="team-model", user_id=99, user_name="colleague", limited=3, failures=3)
    used(None, None, model="other-model", user_id=98, user_name="stranger")

    def page(user: User, of: str) -> tuple[int, str]:
        answer = signed_in(user).get(f"{USAGE}?of={of}&by=model")
        return answer.status_code, answer.content.decode()

    status, html = page(member, "mine")
    assert (status, "mine-model" in html, "team-model" in html) == (200, True, False)
    assert [page(member, of)[0] for of in (str(red.pk), "all")] == [404, 404]
    leader = lead(member)
    status, html = page(leader, str(red.pk))
    assert (status, "mine-model" in html, "team-model" in html, "other-model" in html) == (
        200,
        True,
        True,
        False,
    )
    assert "Limits that were reached" in html
    assert page(leader, "all")[0] == 404
    status, html = page(admin_user, "all")
    assert (status, "team-model" in html, "other-model" in html) == (200, True, True)


def test_the_table_for_spreadsheets_is_of_the_same_people(
    signed_in: SignIn, member: User, red: Group
) -> None:
    used(member, red)
    used(None, red, user_id=99, user_name="colleague", model="m2")
    answer = signed_in(member).get("/usage/table/?by=model&days=7")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.content.decode().splitlines()[1].split(",")[1] == "m1"
    assert len(answer.content.decode().splitlines()) == 2
    assert signed_in(member).get(f"/usage/table/?of={red.pk}").status_code == 404
    assert len(signed_in(lead(member)).get(f"/usage/table/?of={red.pk}").content.decode().splitlines()) == 3


def test_money_is_shown_where_there_are_prices(signed_in: SignIn, member: User) -> None:
    used(member, prompt_tokens=2_000_000, completion_tokens=0)
    assert "Cost" not in signed_in(member).get(USAGE).content.decode()
    ModelPrice.objects.create(pattern="m*", prompt=Decimal("1.25"), completion=Decimal(5))
    assert ">2.50<" in signed_in(member).get(f"{USAGE}?show=cost").content.decode()


@pytest.mark.parametrize("query", ["?days=x&by=moon&show=&of=mine", "?days=999999", "?model=%01&key=a%27"])
def test_a_question_that_makes_no_sense_gets_the_usual_page(
    signed_in: SignIn, member: User, query: str
) -> None:
    assert signed_in(member).get(USAGE + query).status_code == 200


def test_the_chart_stacks_the_largest_and_puts_the_rest_together(member: User) -> None:
    for number in range(SERIES + 3):
        used(member, model=f"m{number}", prompt_tokens=100 * (number + 1), completion_tokens=0)
    used(member, days_ago=2, model="m8", prompt_tokens=450, completion_tokens=0)
    every, asked = UsageTotal.objects.all(), Asked.last(3, "day", "model")
    names = largest(report(Asked.last(3, "model"), every), group="model", metric="tokens")
    lines = report(asked, every, apart=("model", names))
    assert len(lines) == SERIES + 1
    drawn = chart(lines, asked, names, group="model", metric="tokens")
    assert drawn.names == ("m8", "m7", "m6", "m5", "m4", OTHERS)
    assert [bar.amount for bar in drawn.bars] == [450, 0, 4500]
    assert [sum(box.height for box in bar.boxes) for bar in drawn.bars] == [HEIGHT // 10, 0, HEIGHT]
    (first,) = drawn.bars[0].boxes
    assert first.title.endswith("m8: 450 tokens")


# --- Limits ---


def test_what_is_left_of_limits_is_counted_down(
    signed_in: SignIn, member: User, red: Group, settings: LazySettings
) -> None:
    settings.OLLA_KEY_LIMITS = {"concurrent": 4}
    TeamLimits.objects.create(team=red, tokens_per_month=10_000)
    key = keys.create(name="laptop", owner=member, team=red, tokens_per_day=1_000, requests_per_minute=5).key
    used(member, red, key_id=key.pk, charged_tokens=300)
    for _ in range(2):
        record(user_id=member.pk, key_id=key.pk)
    record(user_id=member.pk, key_id=key.pk, limited_by="The API key", status=429)
    record(user_id=member.pk, key_id=key.pk, age_seconds=90)
    text = " ".join(re.sub(r"<[^>]+>", " ", signed_in(member).get(USAGE).content.decode()).split())
    assert "Tokens today 300 / 1,000, 700 left" in text
    assert "Requests in the last minute 2 / 5, 3 left" in text
    assert "Requests at a time at most 4" in text
    assert "Tokens this month 300 / 10,000, 9,700 left" in text


def test_a_person_sees_what_is_left_of_their_own_limits_and_which_models_they_may_use(
    signed_in: SignIn, member: User, red: Group
) -> None:
    PersonLimits.objects.create(person=member, tokens_per_month=1_000, allowed_models=["small-*", "Tiny"])
    for key_id in (1, 2, 0):  # by keys, and in the playground
        used(member, red, key_id=key_id, charged_tokens=100)
    text = " ".join(re.sub(r"<[^>]+>", " ", signed_in(member).get(USAGE).content.decode()).split())
    assert f"{member.username} person Tokens this month 300 / 1,000, 700 left" in text
    assert "Only these models: small-*, tiny." in text


def test_budgets_that_were_used_up_are_told_to_whom_they_concern(
    signed_in: SignIn, member: User, red: Group
) -> None:
    key = keys.create(name="laptop", owner=member).key
    for kind, number, name in (
        ("key", key.pk, "laptop"),
        ("key", 999, "strange-key"),
        ("person", member.pk, "myself"),
        ("person", 999, "strange-person"),
        ("team", red.pk, "red"),
    ):
        BudgetReached.objects.create(
            kind=kind,
            subject_id=number,
            name=name,
            period="day",
            since=clock.now().date(),
            budget=1000,
            at=clock.now(),
        )
    html = signed_in(member).get(USAGE).content.decode()
    assert "all 1,000 tokens of the day" in html
    assert "strange-" not in html
    assert "person <strong>myself</strong>" in html
    assert "Used up" in signed_in(lead(member)).get(f"{USAGE}?of={red.pk}").content.decode()


# --- The rest of the page ---


def test_every_client_is_told_the_base_url_that_the_reader_uses(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", models=("mlx-community/Qwen3-8B-4bit",))
    html = signed_in(member).get(USAGE, headers={"host": "localhost:40114"}).content.decode()
    for client in ("curl", "openai", "Claude Code", "aider", "Continue", "Open WebUI"):
        assert f"<summary>{client} " in html
    assert html.count("http://localhost:40114/v1") >= 6
    assert "ANTHROPIC_BASE_URL=http://localhost:40114/olla/anthropic\n" in html
    assert "aider --model openai/mlx-community/Qwen3-8B-4bit" in html


def test_the_page_costs_the_same_few_queries_however_much_there_is(
    signed_in: SignIn, member: User, red: Group, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    TeamLimits.objects.create(team=red, tokens_per_month=10_000)
    ModelPrice.objects.create(pattern="m*", prompt=1, completion=1)

    def more(number: int) -> None:
        key = keys.create(
            name=f"k{number}", owner=member, team=red, tokens_per_day=1000, requests_per_minute=5
        ).key
        used(member, red, key_id=key.pk, key_name=key.name, days_ago=number, limited=1, failures=1)
        record(user_id=member.pk, key_id=key.pk, team_id=red.pk)

    client = signed_in(lead(member))
    for number in range(2):
        more(number)
        with django_assert_num_queries(22):
            client.get(USAGE)
        with django_assert_num_queries(17):
            client.get(f"{USAGE}?of={red.pk}")

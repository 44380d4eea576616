"""The keys and the usage in the pictures: two teams, five keys, five weeks, and limits that were reached."""

from __future__ import annotations

import random
from datetime import timedelta

from django.contrib.auth.models import Group, User

from ollaproject.wire import clock, roles
from proxy.access import keys
from proxy.models import ApiKey, BudgetReached, ModelPrice, TeamLimits, UsageTotal

DAYS = 35
WEEKEND = 5
MODELS = {
    "mlx-community/Llama-3.3-70B-Instruct-4bit": "mac-studio-1",
    "mlx-community/Qwen3-30B-A3B-4bit": "mac-studio-1",
    "mlx-community/Llama-3.2-3B-Instruct-4bit": "mac-mini-1",
}


def fill(person: User) -> None:
    """Usage of everyone's, in which `person` has a part."""
    dice = random.Random(7)  # noqa: S311 - the pictures are to be the same each time
    research, product = (Group.objects.create(name=name) for name in ("research", "product"))
    person.groups.add(research, Group.objects.get(name=roles.LEAD))
    grace, alan = (User.objects.create_user(name) for name in ("grace", "alan"))
    TeamLimits.objects.create(team=research, tokens_per_month=40_000_000, concurrent=16)
    for name, prompt, cached, completion in (
        ("*", "0.10", "0.02", "0.40"),
        ("*70B*", "0.60", "0.10", "1.80"),
    ):
        ModelPrice.objects.create(pattern=name, prompt=prompt, cached=cached, completion=completion)
    made = [
        keys.create(name="ada-laptop", owner=person, team=research, tokens_per_day=800_000).key,
        keys.create(name="ada-editor", owner=person, team=research, requests_per_minute=60).key,
        keys.create(name="nightly-batch", owner=grace, team=research, priority=-1, keep_bodies=True).key,
        keys.create(name="support-bot", owner=alan, team=product, tokens_per_day=500_000).key,
        keys.create(name="Open WebUI", owner=alan, team=product).key,
    ]
    keys.rotate(key=made[1])
    keys.revoke(key=keys.create(name="ada-old-laptop", owner=person, team=research).key)
    ApiKey.objects.filter(pk=made[0].pk).update(last_used_at=clock.now() - timedelta(minutes=3))
    for age in range(DAYS):
        for place, key in enumerate(made):
            fill_day(dice, age, key, busy=(5, 3, 9, 4, 6)[place])
    BudgetReached.objects.create(
        kind="key",
        subject_id=made[3].pk,
        name="support-bot",
        period="day",
        since=clock.now().date() - timedelta(days=2),
        budget=500_000,
        at=clock.now() - timedelta(days=2, hours=3),
    )


def fill_day(dice: random.Random, age: int, key: ApiKey, *, busy: int) -> None:
    day = clock.now().date() - timedelta(days=age)
    if day.weekday() >= WEEKEND and busy < WEEKEND:
        return
    for model, endpoint in MODELS.items():
        requests = int(dice.lognormvariate(2.6, 0.5) * busy)
        prompt, completion = requests * dice.randint(400, 2600), requests * dice.randint(60, 420)
        failed = requests // 40
        UsageTotal.objects.create(
            day=day,
            key_id=key.pk,
            key_name=key.name,
            user_id=key.owner_id or 0,
            user_name=str(key.owner),
            team_id=key.team_id or 0,
            team_name=str(key.team),
            model=model,
            endpoint=endpoint,
            requests=requests,
            failures=failed,
            limited=failed if key.tokens_per_day else 0,
            prompt_tokens=prompt,
            cached_tokens=int(prompt * dice.random() * 0.7),
            completion_tokens=completion,
            charged_tokens=prompt + completion,
            ttft_ms=requests * dice.randint(120, 900),
            begun=requests - failed,
        )

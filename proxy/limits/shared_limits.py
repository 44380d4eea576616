"""Limits that several processes share, counted in Redis by one script (limits.lua).

Callers that ask at the same time go in one batch over one connection. When Redis does not answer, this says
so once and gives way: each process then goes by what it has counted itself, until Redis is back.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from proxy.limits.windows import KEPT_SECONDS, SECONDS_PER_DAY, month_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.limits.meters import Subject

logger = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "limits.lua").read_text()
PREFIX = "olla:limits:"
# Longer than this nobody's request waits for Redis.
TIMEOUT_SECONDS = 0.5
RECOVERY_SECONDS = 1.0
# A place that a process holds is free again when the process has not renewed it for so long.
LEASE_SECONDS = 60
RENEW_SECONDS = 20
RENEW = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], (time[1] + ARGV[1]) * 1000, ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""
"""By the clock of Redis, which limits.lua has lent it by: this host's may have been set."""
NO_LIMIT = -1
KEYS_PER_SUBJECT = 5

Command = tuple[Any, ...]
Answer = list[int]


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that is counted. Its keys are those of the day on which it came in."""

    member: str
    subjects: tuple[Subject, ...]
    keys: tuple[str, ...]

    def keys_of(self, position: int) -> tuple[str, ...]:
        start = position * KEYS_PER_SUBJECT
        return self.keys[start : start + KEYS_PER_SUBJECT]


class SharedLimits:
    """The connection of one process. For one event loop."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._process = secrets.token_hex(6)
        self._number = 0
        self._script = ""  # its name in Redis, empty before it is loaded
        self._waiting: list[tuple[Command, asyncio.Future[Answer | None] | None]] = []
        self._places: dict[tuple[str, str], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = self._renewing = False
        self.up = True

    def ticket(self, subjects: tuple[Subject, ...]) -> Ticket:
        self._number += 1
        day = int(time.time()) // SECONDS_PER_DAY
        parts = ("requests", "tokens", "places", f"day-{day}", f"month-{month_of(day)}")
        keys = tuple(f"{PREFIX}{each.name}:{part}" for each in subjects for part in parts)
        return Ticket(f"{self._process}-{self._number}", subjects, keys)

    async def enter(self, ticket: Ticket, estimate: int, spent: Sequence[tuple[int, int]]) -> Answer | None:
        """What limits.lua answers; None when Redis does not. `spent`: of day and month, by this process."""
        if not self.up:
            return None
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._send(("EVALSHA", ticket, estimate, spent), future)
        try:
            answer = await asyncio.shield(future)
        except asyncio.CancelledError:
            # The script may have let it in all the same.
            future.add_done_callback(lambda done: self._give_back(ticket, done.result(), estimate))
            raise
        if answer is not None and answer[0] == 0:
            self._hold(ticket)
        return answer

    def leave(self, ticket: Ticket, second: int, difference: int) -> None:
        """A request that came in `second` of Redis is over; it took `difference` tokens more than thought."""
        for position, subject in enumerate(ticket.subjects):
            _, tokens, places, day, month = ticket.keys_of(position)
            limits = subject.limits
            if limits.concurrent is not None:
                self._places.pop((places, ticket.member), None)
                self._send(("ZREM", places, ticket.member))
            if not difference:
                continue
            if limits.tokens_per_minute is not None:
                self._send(("HINCRBY", tokens, second, difference))
                self._send(("EXPIRE", tokens, KEPT_SECONDS + 1))
            if limits.tokens_per_day is not None:
                self._send(("INCRBY", day, difference))
            if limits.tokens_per_month is not None:
                self._send(("INCRBY", month, difference))

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def _give_back(self, ticket: Ticket, answer: Answer | None, estimate: int) -> None:
        if answer is not None and answer[0] == 0:
            self.leave(ticket, answer[1], -estimate)

    def _hold(self, ticket: Ticket) -> None:
        for position, subject in enumerate(ticket.subjects):
            if subject.limits.concurrent is not None:
                self._places[ticket.keys_of(position)[2], ticket.member] = None
        if self._places and not self._renewing:
            self._renewing = True
            asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        self._renewing = bool(self._places)
        if not self._renewing:
            return
        asyncio.get_running_loop().call_later(RENEW_SECONDS, self._renew)
        for key, member in self._places:
            self._send(("EVAL", RENEW, 1, key, LEASE_SECONDS, member))

    def _send(self, command: Command, future: asyncio.Future[Answer | None] | None = None) -> None:
        if not self.up:
            return
        self._waiting.append((command, future))
        if not self._sending:
            self._sending = True
            self._begin(self._send_all())

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_all(self) -> None:
        """Send what waits, batch by batch: what comes in while one is under way makes the next."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    answers = await self._ask([command for command, _ in batch])
                except (RedisError, OSError, TimeoutError) as error:
                    self._lose(error, batch)
                    return
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future is not None and not future.done():
                        future.set_result(answer)
        finally:
            self._sending = False

    async def _ask(self, commands: list[Command]) -> list[Any]:
        if not self._script:
            self._script = await self._client.script_load(SCRIPT)
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*(self._evaluated(*command[1:]) if command[0] == "EVALSHA" else command))
        return list(await pipeline.execute())

    def _evaluated(self, ticket: Ticket, estimate: int, spent: Sequence[tuple[int, int]]) -> Command:
        arguments: list[int | str] = [estimate, ticket.member, KEPT_SECONDS, LEASE_SECONDS * 1000]
        for subject, known in zip(ticket.subjects, spent, strict=True):
            said = subject.limits
            counted = (said.requests_per_minute, said.tokens_per_minute, said.concurrent)
            budgets = (said.tokens_per_day, said.tokens_per_month)
            arguments += [NO_LIMIT if each is None else each for each in (*counted, *budgets)]
            arguments += known
        return ("EVALSHA", self._script, len(ticket.keys), *ticket.keys, *arguments)

    def _lose(
        self, error: Exception, batch: Sequence[tuple[Command, asyncio.Future[Answer | None] | None]]
    ) -> None:
        logger.error(
            "Redis does not answer (%s). Until it does, each process counts limits by itself.", error
        )
        self.up = False
        self._script = ""
        waiting, self._waiting = [*batch, *self._waiting], []
        for _, future in waiting:
            if future is not None and not future.done():
                future.set_result(None)
        self._begin(self._recover())

    async def _recover(self) -> None:
        while not self.up:
            await asyncio.sleep(RECOVERY_SECONDS)
            try:
                self._script = await self._client.script_load(SCRIPT)
            except (RedisError, OSError, TimeoutError):
                continue
            self.up = True
            logger.info("Redis answers again. Limits are shared between the processes.")

"""Who has how much of this machine's memory, as the supervisor's keepers know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from inference.local import room, wishes
from inference.local.lifecycle import Process
from inference.local.room import Occupant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.local.keeper import Keeper
    from inference.models import LocalModel

USED_JUST_NOW_SECONDS = 1.0


class Memory:
    """`keepers` by model id, and the models as they were read last."""

    def __init__(self, keepers: Mapping[int, Keeper]) -> None:
        self._keepers = keepers
        self.models: dict[int, LocalModel] = {}

    def machine(self) -> room.Machine:
        return room.machine(used_by_models=sum(self._used(each) for each in self._keepers.values()))

    def free(self) -> int:
        """What a new model could have: less what those that are loading have not taken yet."""
        promised = sum(
            max(0, keeper.needed_bytes - (running.process.memory_bytes or 0))
            for keeper in self._keepers.values()
            for running in keeper.servers()
            if running.now == Process.LOADING
        )
        return max(0, self.machine().free - promised)

    def make_room(self, newcomer: Keeper, *, needed: int, free: int) -> list[str] | None:
        """Unload others until `needed` bytes are free. Who leaves, by name; None if it cannot be."""
        leaving = [each for each in self._keepers.values() if each.running and each.running.is_stopping]
        coming = sum(self._used(each) for each in leaving)
        if leaving and free + coming >= needed:
            return [self.models[each.model_id].name for each in leaving if each.model_id in self.models]
        if not settings.OLLA_MAKE_ROOM:
            return None
        chosen = room.who_leaves(needed=needed, free=free + coming, occupants=self._idle(newcomer))
        if chosen is None:
            return None
        return [each.name for each in chosen if wishes.put_to_sleep(each.model_id)]

    def _idle(self, newcomer: Keeper) -> list[Occupant]:
        """The loaded models that nobody is using, and that may go."""
        return [
            Occupant(keeper.model_id, model.name, self._used(keeper), keeper.last_used_at)
            for keeper in self._keepers.values()
            if keeper is not newcomer
            and (model := self.models.get(keeper.model_id)) is not None
            and not model.pinned
            and keeper.running is not None
            and keeper.running.now == Process.HEALTHY
            and keeper.running.idle_seconds >= USED_JUST_NOW_SECONDS
        ]

    def _used(self, keeper: Keeper) -> int:
        return sum(running.process.memory_bytes or 0 for running in keeper.servers())

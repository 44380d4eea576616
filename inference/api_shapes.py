"""Local models in JSON, for the REST API. A Hugging Face token can be written and never read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inference.local import cards, configuring, log_view, looking, record
from inference.local.choices import Kind, Link, State, Wanted
from inference.models import LocalModel, LocalModelEvent, ModelHost
from ollaproject.wire import rest

if TYPE_CHECKING:
    from inference.local.cards import Card

SETTINGS = (
    *("name", "source", "revision", "kind", "embedding_source", "host", "port", "autostart"),
    *("keep_alive_seconds", "pinned", "aliases", "max_concurrent", "context_limit", "memory_megabytes"),
    *("prompt_cache_megabytes", "disk_cache_megabytes", "draft_source", "adapter_path"),
    *("chat_template_options", "server_options", "runs_own_code"),
    *("spread_over", "spread_through", "spread_hostfile"),
)


class MemorySerializer(rest.SerializerBase):
    """What it takes, in bytes. `needed` is an estimate; `free` is what its machine has."""

    used = serializers.IntegerField(allow_null=True)
    needed = serializers.IntegerField(allow_null=True)
    free = serializers.IntegerField(allow_null=True)


class LocalStatusSerializer(rest.SerializerBase):
    """How it is. `done` of `total` are bytes of a download, or milliseconds of loading by the last time."""

    state = serializers.ChoiceField(choices=State.choices)
    said = serializers.CharField(help_text="How far it is, or why it is as it is.")
    since = serializers.DateTimeField()
    host = serializers.CharField()
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    bytes_per_second = serializers.FloatField()
    commit = serializers.CharField()
    load_seconds = serializers.FloatField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    retry_at = serializers.DateTimeField(allow_null=True)
    endpoint_id = serializers.IntegerField(allow_null=True)
    memory = MemorySerializer()
    actions = serializers.ListField(child=serializers.CharField(), help_text="What makes sense now.")


class LocalModelSerializer(rest.StrictSerializer, serializers.ModelSerializer[LocalModel]):
    """A local model as a person configures it, and, read only, how it is."""

    name = serializers.CharField(
        max_length=200, required=False, help_text="What clients ask for. Left out: as its source is called."
    )
    kind = serializers.ChoiceField(choices=Kind.choices, required=False)
    spread_through = serializers.ChoiceField(choices=Link.choices, required=False)
    aliases = serializers.ListField(child=serializers.CharField(), required=False)
    spread_over = serializers.ListField(child=serializers.CharField(), required=False)
    chat_template_options = serializers.DictField(required=False)
    token = serializers.CharField(
        write_only=True, required=False, allow_blank=True, help_text="Hugging Face token. Empty: removed."
    )
    has_token = serializers.SerializerMethodField()
    start = serializers.BooleanField(write_only=True, required=False, help_text="Start it at once.")
    wanted = serializers.ChoiceField(choices=Wanted.choices, read_only=True)
    status = serializers.SerializerMethodField()

    class Meta:
        model = LocalModel
        fields = ("id", *SETTINGS, "token", "has_token", "start", "wanted", "created_at", "status")
        # The model's own rules say more than REST framework's would, in the words of the forms.
        extra_kwargs: ClassVar[dict[str, Any]] = {
            name: {"validators": []} for name in ("port", "max_concurrent", "context_limit", "server_options")
        }

    def get_has_token(self, model: LocalModel) -> bool:
        return bool(model.encrypted_token)

    @extend_schema_field(LocalStatusSerializer)
    def get_status(self, model: LocalModel) -> dict[str, Any]:
        status = record.status_of(model) if not hasattr(model, "status") else model.status
        card = cards.card_of(model, status, self.context["machines"])
        shown = {
            name: getattr(status, name)
            for name in ("since", "done", "total", "bytes_per_second", "commit", "load_seconds")
        }
        shown |= {name: getattr(status, name) for name in ("last_used_at", "retry_at", "endpoint_id")}
        shown |= {"state": card.state, "said": card.said, "host": card.host, "memory": _memory(card, status)}
        shown["actions"] = [action.name for action in card.actions]
        return dict(LocalStatusSerializer(shown).data)

    def create(self, validated_data: dict[str, Any]) -> LocalModel:
        return self._stored(LocalModel(), validated_data)

    def update(self, instance: LocalModel, validated_data: dict[str, Any]) -> LocalModel:
        return self._stored(instance, validated_data)

    def _stored(self, model: LocalModel, values: dict[str, Any]) -> LocalModel:
        start, token = values.pop("start", False), values.pop("token", None)
        for name, value in values.items():
            setattr(model, name, value)
        if token is not None:
            model.set_token(token)
        if not model.name:
            model.name = configuring.suggested_name(model)
        try:
            model.full_clean()
            look = looking.look_at(model)
        except ValidationError as mistakes:
            rest.refuse(mistakes, {"encrypted_token": "token"})
        configuring.store(model, look, start=start)
        return LocalModel.objects.select_related("status").get(pk=model.pk)


def _memory(card: Card, status: Any) -> dict[str, int | None]:
    expected = card.estimate
    return {
        "used": status.memory_bytes,
        "needed": expected.needed if expected else None,
        "free": expected.free if expected else None,
    }


class LogSerializer(rest.SerializerBase):
    """The last lines. `note` says where the rest is, when this is not all that can be had."""

    text = serializers.CharField()
    note = serializers.CharField()


class EventSerializer(serializers.ModelSerializer[LocalModelEvent]):
    class Meta:
        model = LocalModelEvent
        fields = ("at", "old_state", "new_state", "reason")


class HostSerializer(serializers.ModelSerializer[ModelHost]):
    """A machine with a supervisor. Sizes are in bytes."""

    class Meta:
        model = ModelHost
        fields = ("name", "running", "seen_at", "memory_total", "memory_free")


def shown_log(model: LocalModel, lines: int) -> dict[str, str]:
    found = log_view.of(record.status_of(model), lines=lines)
    return {"text": found.text, "note": found.note}

"""The fleet in JSON, for the REST API: the keys and notations of endpoint files (contract, section 8).

A credential can be written and never read. What is stored is checked by the model's own rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from endpoints import profiles
from endpoints.aliases import aliases
from endpoints.choices import AuthKind, Mode, Status
from endpoints.files import yaml_io
from endpoints.health.detection import detected_type
from endpoints.models import AliasedModel, Endpoint, EndpointModel, ModelAlias
from endpoints.past import changes
from endpoints.routing.strategies import STRATEGIES
from ollaproject.wire import rest
from ollaproject.wire.durations import DurationError, format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

# Field of the model → its key here. What is nested goes by its path.
NAMES: Mapping[str, str] = {
    **{name: key for key, (name, _) in yaml_io.PLAIN_KEYS.items()},
    **{name: f"model_filter.{key}" for key, (name, _) in yaml_io.FILTER_KEYS.items()},
    "auth_kind": "auth.type",
    "auth_header": "auth.header",
    "auth_username": "auth.username",
    "models": "models",
}


class DurationField(serializers.Field):  # type: ignore[type-arg]
    """Seconds, written and read as `5s`, `500ms`, `1m30s`."""

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, str):
            raise serializers.ValidationError("Write a duration as text, such as 500ms, 5s or 1m30s.")
        try:
            return parse_duration(data)
        except DurationError as error:
            raise serializers.ValidationError(str(error)) from None

    def to_representation(self, value: float) -> str:
        return format_duration(value)


duration = extend_schema_field({"type": "string", "example": "5s"})(DurationField)


class AuthSerializer(rest.StrictSerializer):
    """How the gateway signs in. `secret` is the token, key or password: written, never read."""

    type = serializers.ChoiceField(choices=AuthKind.choices, source="auth_kind")
    header = serializers.CharField(source="auth_header", required=False, allow_blank=True, max_length=100)
    username = serializers.CharField(source="auth_username", required=False, allow_blank=True, max_length=200)
    secret = serializers.CharField(write_only=True, required=False, trim_whitespace=False)
    has_secret = serializers.BooleanField(source="has_credential", read_only=True)


class ModelFilterSerializer(rest.StrictSerializer):
    """Globs. Without `include` all models are served, less those that `exclude` names."""

    include = serializers.ListField(child=serializers.CharField(), required=False, source="model_include")
    exclude = serializers.ListField(child=serializers.CharField(), required=False, source="model_exclude")


class ServedModelSerializer(serializers.ModelSerializer[EndpointModel]):
    class Meta:
        model = EndpointModel
        fields = ("name", "max_model_len", "first_seen_at", "last_seen_at")


class HealthSerializer(rest.SerializerBase):
    """What the checks found."""

    status = serializers.ChoiceField(choices=Status.choices)
    reason = serializers.CharField()
    since = serializers.DateTimeField()
    checked_at = serializers.DateTimeField(allow_null=True)
    next_check_at = serializers.DateTimeField()
    latency_seconds = serializers.FloatField(allow_null=True)
    consecutive_failures = serializers.IntegerField()
    flapping = serializers.BooleanField()


class EndpointSerializer(rest.StrictSerializer, serializers.ModelSerializer[Endpoint]):
    """An endpoint as an operator sets it, and, read only, how it is and what it serves."""

    type = serializers.CharField(
        required=False,
        help_text="A backend type, such as `vllm-mlx` or `openai`, or `auto`: found out from the URL, once.",
    )
    mode = serializers.ChoiceField(
        choices=Mode.choices, read_only=True, help_text="Set by drain, pause, maintain and activate."
    )
    tags = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Words to find it by on the dashboard."
    )
    check_interval = duration(source="check_interval_seconds", required=False)
    check_timeout = duration(source="check_timeout_seconds", required=False)
    deep_check_interval = duration(
        source="deep_check_interval_seconds",
        required=False,
        allow_null=True,
        help_text="How often it must generate a token. Null: never.",
    )
    connect_timeout = duration(source="connect_timeout_seconds", required=False, allow_null=True)
    first_byte_timeout = duration(source="first_byte_timeout_seconds", required=False, allow_null=True)
    idle_timeout = duration(source="idle_timeout_seconds", required=False, allow_null=True)
    headers = serializers.DictField(child=serializers.CharField(trim_whitespace=False), required=False)
    model_filter = ModelFilterSerializer(source="*", required=False)
    auth = AuthSerializer(source="*", required=False)
    health = HealthSerializer(read_only=True)
    models = ServedModelSerializer(many=True, read_only=True)

    class Meta:
        model = Endpoint
        fields = (
            "id",
            *yaml_io.KEYS,
            "mode",
            "maintenance_until",
            "is_local",
            "created_at",
            "edited_at",
            "health",
            "models",
        )
        read_only_fields = ("is_local", "maintenance_until")
        # The model's own rules say more than REST framework's would, in the words of the forms.
        extra_kwargs: ClassVar[dict[str, Any]] = {
            name: {"validators": []} for name in ("name", "url", "priority", "weight", "max_concurrent")
        }
        extra_kwargs["url"]["help_text"] = (
            "Where it listens: `http://host:port`, or for a Unix socket `http+unix://%2Frun%2Fmlx.sock`, "
            "which may be written `unix:/run/mlx.sock`."
        )

    def validate_type(self, value: str) -> str:
        """Olla's other names for a type are taken too."""
        found = profiles.profile_for_prefix(value)
        return found.name if found else value

    def create(self, validated_data: dict[str, Any]) -> Endpoint:
        return self._stored(Endpoint(), validated_data)

    def update(self, instance: Endpoint, validated_data: dict[str, Any]) -> Endpoint:
        if not self.partial:  # PUT: what is left out is at its default
            default = Endpoint()
            left_out = [name for name in changes.person_fields() if name not in validated_data]
            for name in left_out:
                setattr(instance, name, getattr(default, name))
        return self._stored(instance, validated_data)

    def _stored(self, endpoint: Endpoint, values: dict[str, Any]) -> Endpoint:
        secret = values.pop("secret", None)
        kind = endpoint.auth_kind if endpoint.pk is None else self._stored_kind(endpoint)
        for name, value in values.items():
            setattr(endpoint, name, value)
        if endpoint.auth_kind != kind:
            endpoint.set_credential("")  # made for another way of signing in
        if secret is not None:
            endpoint.set_credential(secret)
        try:
            if endpoint.type == profiles.AUTO:
                self._detect_type(endpoint)
            endpoint.full_clean()
        except ValidationError as mistakes:
            rest.refuse(mistakes, NAMES)
        changes.save(endpoint, with_mode="mode" in values)
        return Endpoint.objects.select_related("health").get(pk=endpoint.pk)

    def _detect_type(self, endpoint: Endpoint) -> None:
        """Put what runs there in place of `auto`. Other mistakes are told before anybody is asked."""
        endpoint.type = profiles.OWN_TYPE
        endpoint.full_clean()
        endpoint.type = detected_type(endpoint)

    def _stored_kind(self, endpoint: Endpoint) -> str:
        return Endpoint.objects.values_list("auth_kind", flat=True).get(pk=endpoint.pk)


class AliasSerializer(rest.StrictSerializer, serializers.ModelSerializer[ModelAlias]):
    """A name for an ordered list of models: the first that can be served is used."""

    models = serializers.ListField(child=serializers.CharField(), allow_empty=False, min_length=1)
    strategy = serializers.ChoiceField(
        choices=list(STRATEGIES),
        required=False,
        allow_blank=True,
        help_text="Its own load balancer. Empty: that of the deployment.",
    )
    defaults = serializers.DictField(
        required=False, help_text="Parameters that a request gets when it does not say them itself."
    )
    overrides = serializers.DictField(
        required=False, help_text="Those that it gets whatever it says; null takes one out of it."
    )

    class Meta:
        model = ModelAlias
        fields = ("id", "name", "models", "strategy", "defaults", "overrides")

    def to_representation(self, instance: ModelAlias) -> dict[str, Any]:
        names = [one.model for one in instance.models.all()]
        more = {name: getattr(instance, name) for name in ("strategy", "defaults", "overrides")}
        return {"id": instance.pk, "name": instance.name, "models": names, **more}

    def create(self, validated_data: dict[str, Any]) -> ModelAlias:
        return self._stored(ModelAlias(), validated_data)

    def update(self, instance: ModelAlias, validated_data: dict[str, Any]) -> ModelAlias:
        if not self.partial:  # PUT: what is left out is at its default
            validated_data = {"strategy": "", "defaults": {}, "overrides": {}} | validated_data
        return self._stored(instance, validated_data)

    def _stored(self, alias: ModelAlias, values: dict[str, Any]) -> ModelAlias:
        models = values.get("models")
        for name in ("name", "strategy", "defaults", "overrides"):
            setattr(alias, name, values.get(name, getattr(alias, name)))
        try:
            alias.full_clean()
            for position, name in enumerate(models or ()):
                AliasedModel(alias=alias, position=position, model=name).clean_fields(exclude={"alias"})
        except ValidationError as mistakes:
            rest.refuse(mistakes, {"model": "models"})
        aliases.store(alias, models)
        return ModelAlias.objects.prefetch_related("models").get(pk=alias.pk)

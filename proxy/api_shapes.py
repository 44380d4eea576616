"""Keys and usage in JSON, for the REST API. A key's secret is in one answer only: that of making it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from rest_framework import serializers

from ollaproject.wire import clock, rest, roles
from proxy.access import keys
from proxy.models import ApiKey, ModelPrice, PersonLimits, TeamLimits

if TYPE_CHECKING:
    from proxy.reports.usage_report import Used


class ByName(serializers.SlugRelatedField[Any]):
    """Somebody or something by its name."""

    def to_internal_value(self, data: Any) -> Any:
        if "\0" in str(data):  # PostgreSQL fails at the question
            self.fail("does_not_exist", slug_name=self.slug_field, value=data)
        return super().to_internal_value(data)


class KeySerializer(rest.StrictSerializer, serializers.ModelSerializer[ApiKey]):
    """A key: whose it is, what it may and what it may use."""

    owner = ByName(slug_field="username", queryset=User.objects.all(), required=False, allow_null=True)
    team = ByName(
        slug_field="name", queryset=Group.objects.filter(roles.are_teams()), required=False, allow_null=True
    )
    state = serializers.SerializerMethodField()
    allowed_models = serializers.ListField(child=serializers.CharField(), required=False)
    allowed_endpoints = serializers.ListField(child=serializers.CharField(), required=False)
    allowed_networks = serializers.ListField(child=serializers.CharField(), required=False)

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "public_id",
            "name",
            "owner",
            "team",
            "state",
            "enabled",
            "expires_at",
            "allowed_models",
            "allowed_endpoints",
            "allowed_networks",
            "priority",
            "rest_api",
            "keep_bodies",
            "requests_per_minute",
            "tokens_per_minute",
            "concurrent",
            "tokens_per_day",
            "tokens_per_month",
            "max_tokens",
            "notes",
            "created_at",
            "rotated_at",
            "revoked_at",
            "last_used_at",
        )
        read_only_fields = ("public_id", "created_at", "rotated_at", "revoked_at", "last_used_at")
        extra_kwargs: ClassVar[dict[str, Any]] = {"name": {"validators": []}}

    def get_state(self, key: ApiKey) -> str:
        """`active`, `revoked`, `disabled` or `expired`."""
        return keys.state_of(key, clock.now())

    def create(self, validated_data: dict[str, Any]) -> ApiKey:
        """The key has its secret in `plain`, this once."""
        key = ApiKey(**validated_data)
        self._refuse_impersonation(key)
        try:
            issued = keys.issue(key=key)
        except ValidationError as mistakes:
            rest.refuse(mistakes, {})
        self.plain = issued.plain
        return issued.key

    def update(self, instance: ApiKey, validated_data: dict[str, Any]) -> ApiKey:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        self._refuse_impersonation(instance)
        try:
            instance.full_clean()
        except ValidationError as mistakes:
            rest.refuse(mistakes, {})
        instance.save()
        return instance

    def _refuse_impersonation(self, key: ApiKey) -> None:
        if not keys.may_hold(self.context["request"].user, key):
            raise serializers.ValidationError({"rest_api": keys.NOT_THEIRS})


class IssuedSerializer(KeySerializer):
    """A key that was just made or rotated, with its secret. It is shown here and never again."""

    secret = serializers.CharField(read_only=True)

    class Meta(KeySerializer.Meta):
        fields = (*KeySerializer.Meta.fields, "secret")  # type: ignore[assignment]  # one more


class RotateSerializer(rest.StrictSerializer):
    grace_hours = serializers.FloatField(
        default=keys.DEFAULT_GRACE.total_seconds() / 3600,
        min_value=0,
        max_value=24 * 90,
        help_text="How long the secret from before goes on working.",
    )


class PriceSerializer(rest.StrictSerializer, serializers.ModelSerializer[ModelPrice]):
    class Meta:
        model = ModelPrice
        fields = ("id", "pattern", "prompt", "cached", "completion")


class SharedLimitsSerializer(rest.StrictSerializer, serializers.ModelSerializer[Any]):
    """Null: what the setting says for all. 0: no limit."""

    allowed_models = serializers.ListField(child=serializers.CharField(), required=False)

    def create(self, validated_data: dict[str, Any]) -> Any:
        model: Any = self.Meta.model
        return self.update(model(), validated_data)

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        try:
            instance.full_clean()
        except ValidationError as mistakes:
            rest.refuse(mistakes, {})
        instance.save()
        return instance


SHARED_LIMITS = (
    *("requests_per_minute", "tokens_per_minute", "concurrent"),
    *("tokens_per_day", "tokens_per_month", "max_tokens", "allowed_models"),
)


class TeamLimitsSerializer(SharedLimitsSerializer):
    """What the keys of a team may use together."""

    team = ByName(slug_field="name", queryset=Group.objects.filter(roles.are_teams()))

    class Meta:
        model = TeamLimits
        fields = ("id", "team", *SHARED_LIMITS)


class PersonLimitsSerializer(SharedLimitsSerializer):
    """What the keys that a person owns may use together."""

    person = ByName(slug_field="username", queryset=User.objects.all())

    class Meta:
        model = PersonLimits
        fields = ("id", "person", *SHARED_LIMITS)


class UsedSerializer(rest.SerializerBase):
    """Sums over the requests of a group. `group` has a value for each of `group_by`."""

    group = serializers.DictField(child=serializers.CharField())
    requests = serializers.IntegerField()
    failures = serializers.IntegerField()
    abandoned = serializers.IntegerField(help_text="Clients that left before the end.")
    limited = serializers.IntegerField(help_text="Those of the failures that a limit or a budget refused.")
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField(help_text="Those of the prompt that were known already.")
    completion_tokens = serializers.IntegerField()
    bytes_in = serializers.IntegerField()
    bytes_out = serializers.IntegerField()
    mean_ttft_ms = serializers.FloatField(allow_null=True)
    cost = serializers.CharField(help_text="At the prices of now; 0 where there is none.")

    def to_representation(self, instance: Used) -> dict[str, Any]:
        return {
            "group": {name: str(value) for name, value in instance.group.items()},
            **instance.counts,
            "mean_ttft_ms": None if instance.mean_ttft_ms is None else round(instance.mean_ttft_ms, 3),
            "cost": f"{instance.cost.normalize():f}",
        }


class UsageSerializer(rest.SerializerBase):
    since = serializers.DateField()
    until = serializers.DateField()
    group_by = serializers.ListField(child=serializers.CharField())
    total = UsedSerializer()
    usage = UsedSerializer(many=True)


class MeSerializer(rest.SerializerBase):
    """Who is calling: a person, a key, or a key for its owner."""

    user = serializers.CharField(allow_null=True)
    teams = serializers.ListField(child=serializers.CharField())
    roles = serializers.ListField(child=serializers.CharField())
    key = KeySerializer(allow_null=True)
    permissions = serializers.ListField(child=serializers.CharField())

"""Alert channels over REST, and what was sent to them. URLs and secrets are written and never read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from endpoints.alerts import alert_channels, alerts
from endpoints.alerts.alert_models import AlertChannel, AlertDelivery, AlertKind, DeliveryState
from ollaproject.wire import rest

if TYPE_CHECKING:
    from rest_framework.request import Request

    ChannelViews = viewsets.ModelViewSet[AlertChannel]
    DeliveryViews = viewsets.GenericViewSet[AlertDelivery]
else:
    ChannelViews = viewsets.ModelViewSet  # generic for the type checker only
    DeliveryViews = viewsets.GenericViewSet


class RecipientsField(serializers.ListField):
    """E-mail addresses."""

    child = serializers.EmailField()

    def to_representation(self, data: Any) -> list[str]:
        return list(str(data).split())


class AlertChannelSerializer(rest.StrictSerializer, serializers.ModelSerializer[AlertChannel]):
    """A place that alerts go to. `url` and `secret` are written, never read; `host` says where it goes."""

    url = serializers.CharField(
        write_only=True,
        required=False,
        max_length=1000,
        help_text="Where to post. A secret. E-mail has none.",
    )
    host = serializers.CharField(read_only=True)
    secret = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        max_length=500,
        trim_whitespace=False,
        help_text="Signs a webhook's messages; ntfy's access token. Empty removes it.",
    )
    has_secret = serializers.BooleanField(source="encrypted_secret", read_only=True)
    recipients = RecipientsField(required=False, help_text="Of an e-mail.")
    quiet_from = serializers.TimeField(required=False, allow_null=True, format="%H:%M")
    quiet_until = serializers.TimeField(required=False, allow_null=True, format="%H:%M")

    class Meta:
        model = AlertChannel
        fields = (
            *("id", "name", "kind", "enabled", "url", "host", "secret", "has_secret", "recipients"),
            *("on_down", "on_back", "on_flapping", "on_budget"),
            *("group_seconds", "quiet_from", "quiet_until", "time_zone"),
        )
        # The model's own rules, in the words of the form.
        extra_kwargs: ClassVar[dict[str, Any]] = {
            name: {"validators": []} for name in ("name", "group_seconds", "time_zone")
        }

    def create(self, validated_data: dict[str, Any]) -> AlertChannel:
        return self._stored(AlertChannel(), validated_data)

    def update(self, instance: AlertChannel, validated_data: dict[str, Any]) -> AlertChannel:
        if not self.partial:  # PUT: what is left out is at its default, but for what cannot be read
            default = AlertChannel()
            left_out = [name for name in self._writable() if name not in {"url", "secret", *validated_data}]
            validated_data |= {name: getattr(default, name) for name in left_out}
        return self._stored(instance, validated_data)

    def _stored(self, channel: AlertChannel, values: dict[str, Any]) -> AlertChannel:
        changed = sorted(values)
        url, secret = values.pop("url", ""), values.pop("secret", None)
        if isinstance(values.get("recipients"), list):
            values["recipients"] = " ".join(values["recipients"])
        for name, value in values.items():
            setattr(channel, name, value)
        try:
            alert_channels.put_in(channel, url=alert_channels.read_url(url) if url else "", secret=secret)
        except ValidationError as mistake:
            raise serializers.ValidationError({"url": mistake.messages}) from None
        try:
            channel.full_clean()
        except ValidationError as mistakes:
            rest.refuse(mistakes, {})
        if missing := channel.missing():
            raise serializers.ValidationError(missing)
        alert_channels.save(channel, changed)
        return channel


class AlertDeliverySerializer(serializers.ModelSerializer[AlertDelivery]):
    """One alert on its way to one channel, and what came of it."""

    channel = serializers.IntegerField(source="channel_id")
    channel_name = serializers.CharField(source="channel.name")

    class Meta:
        model = AlertDelivery
        fields = (
            *("id", "channel", "channel_name", "at", "kind", "subject", "text", "path"),
            *("state", "due_at", "attempts", "sent_at", "error"),
        )


class AlertChannelViewSet(ChannelViews):
    """Where alerts go, of what, and when."""

    queryset = AlertChannel.objects.all()
    serializer_class = AlertChannelSerializer
    lookup_value_regex = "[0-9]+"

    def perform_destroy(self, instance: AlertChannel) -> None:
        alert_channels.delete([instance])

    @extend_schema(request=None, responses={202: AlertDeliverySerializer})
    @action(detail=True, methods=["post"], permission_classes=[rest.ChangePermissions])
    def test(self, request: Request, pk: str) -> Response:  # noqa: ARG002
        """Send it a message that says that it arrives. `/api/alert-deliveries/{id}/` tells whether it did."""
        sent = alerts.send_test(self.get_object())
        return Response(AlertDeliverySerializer(sent).data, status=status.HTTP_202_ACCEPTED)


class DeliveryFilters(rest.Query):
    channel = serializers.IntegerField(source="channel_id", required=False, help_text="The id of a channel.")
    kind = serializers.ChoiceField(AlertKind.choices, required=False, help_text="Of what.")
    state = serializers.ChoiceField(DeliveryState.choices, required=False, help_text="How far.")


class AlertDeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, DeliveryViews):
    """What was sent, is to be sent, or could not be. Kept for 90 days."""

    queryset = AlertDelivery.objects.select_related("channel")
    serializer_class = AlertDeliverySerializer
    permission_classes = (rest.ModelPermissions,)
    filters = DeliveryFilters
    lookup_value_regex = "[0-9]+"

    @extend_schema(parameters=[DeliveryFilters])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Alerts and what came of them, the newest first. Filters may be combined."""
        return super().list(request, *args, **kwargs)

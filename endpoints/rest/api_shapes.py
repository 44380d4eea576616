"""What the REST API answers beside endpoints themselves: checks, incidents, uptimes, changes, imports."""

from __future__ import annotations

from rest_framework import serializers

from endpoints.choices import Status
from endpoints.models import Change, HealthCheck
from ollaproject.wire import rest


class CheckSerializer(serializers.ModelSerializer[HealthCheck]):
    class Meta:
        model = HealthCheck
        fields = ("at", "status", "reason", "http_status", "latency_seconds")


class IncidentSerializer(rest.SerializerBase):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(allow_null=True)
    status = serializers.ChoiceField(choices=Status.choices)
    reason = serializers.CharField()
    ended_as = serializers.ChoiceField(choices=Status.choices, allow_null=True)
    models = serializers.ListField(child=serializers.CharField(), help_text="What it served when it failed.")


class UptimeSerializer(rest.SerializerBase):
    days = serializers.IntegerField()
    share = serializers.FloatField(allow_null=True, min_value=0, max_value=1)
    down_seconds = serializers.FloatField()


class ChangeSerializer(serializers.ModelSerializer[Change]):
    differences = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Change
        fields = ("at", "actor", "via", "action", "kind", "subject_id", "name", "differences")


class ImportedSerializer(rest.SerializerBase):
    """What became, or would become, of one endpoint or alias."""

    name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=["added", "changed", "unchanged", "deleted"])
    differences = serializers.ListField(child=serializers.CharField())


class ImportSerializer(rest.SerializerBase):
    written = serializers.BooleanField()
    endpoints = ImportedSerializer(many=True)
    aliases = ImportedSerializer(many=True)
    left_out = serializers.ListField(child=serializers.CharField())

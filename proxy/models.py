"""The history of requests: one row for each that is over. Nothing of what was asked or answered is in it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

ROUTE_LENGTH = 300
NAME_LENGTH = 300


class RequestRecord(models.Model):
    """Times in milliseconds. Tokens are null where the endpoint did not count them."""

    at = models.DateTimeField("ended at")
    request_id = models.CharField("request id", max_length=128)
    caller = models.CharField(max_length=64, blank=True)
    method = models.CharField(max_length=20)
    route = models.CharField(max_length=ROUTE_LENGTH)
    model = models.CharField(max_length=NAME_LENGTH, blank=True)
    endpoint = models.CharField(max_length=NAME_LENGTH, blank=True)
    status = models.PositiveSmallIntegerField("HTTP status", help_text="0: no answer had begun.")
    error_code = models.CharField(max_length=64, blank=True)
    client_left = models.BooleanField(default=False)
    stream = models.BooleanField(default=False)
    attempts = models.JSONField(default=list, help_text="Endpoint and why it failed, in the order tried.")
    ttft_ms = models.FloatField("time to first byte (ms)", null=True)
    duration_ms = models.FloatField("duration (ms)")
    bytes_in = models.BigIntegerField()
    bytes_out = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField(null=True)
    completion_tokens = models.BigIntegerField(null=True)
    cached_tokens = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = "request"
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [models.Index(fields=["at"], name="requests_by_time")]

    def __str__(self) -> str:
        return self.request_id

"""The words of local models: what one is for, what a person wants of it, and how it is."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _


class Kind(models.TextChoices):
    CHAT = "chat", _("Chat and completions")
    EMBEDDING = "embedding", _("Embeddings")
    BOTH = "both", _("Chat, with an embedding model beside it")


class Link(models.TextChoices):
    """How machines that run one model together talk: MLX's backends."""

    RING = "ring", _("Ring (TCP)")
    JACCL = "jaccl", _("JACCL (RDMA over Thunderbolt)")


class Wanted(models.TextChoices):
    """What a person, or the idle clock, wants. The supervisor makes it so."""

    RUNNING = "running", _("Running")
    UNLOADED = "unloaded", _("Unloaded until somebody asks for it")
    DOWNLOADED = "downloaded", _("Downloaded, not running")
    STOPPED = "stopped", _("Stopped")


class State(models.TextChoices):
    STOPPED = "stopped", _("Stopped")
    DOWNLOADING = "downloading", _("Downloading")
    VERIFYING = "verifying", _("Verifying")
    LOADING = "loading", _("Loading")
    READY = "ready", _("Ready")
    UNLOADED = "unloaded", _("Unloaded")
    STOPPING = "stopping", _("Stopping")
    FAILED = "failed", _("Failed")


FETCHING: Final = frozenset({State.DOWNLOADING, State.VERIFYING})
ON_THE_MOVE: Final = frozenset({State.DOWNLOADING, State.VERIFYING, State.LOADING, State.STOPPING})

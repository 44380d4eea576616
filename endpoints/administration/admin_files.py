"""The fleet as a file, in the admin: download it, or upload one, see what it would change, and import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from endpoints.choices import Outcome
from endpoints.errors import EndpointFileError
from endpoints.files import exporting, importing, yaml_io

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest

    from endpoints.files.importing import Import

PERMISSIONS = ("endpoints.add_endpoint", "endpoints.change_endpoint")
YAML = "application/yaml"


class FileForm(forms.Form):
    """A file is looked at first; what was looked at comes back as `text`, to be imported."""

    file = forms.FileField(
        label=_("Endpoint file"),
        required=False,
        help_text=_(
            "A list called endpoints, or Olla's configuration. It may name no variables and no files."
        ),
        widget=forms.FileInput(attrs={"accept": ".yaml,.yml,application/yaml"}),
    )
    text = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("file") and not cleaned.get("text"):
            self.add_error("file", _("Choose a file."))
        return cleaned


def export(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("endpoints.view_endpoint"):
        raise PermissionDenied
    headers = {"Content-Disposition": 'attachment; filename="fleet.yaml"', "Cache-Control": "no-store"}
    return HttpResponse(exporting.as_yaml(), content_type=YAML, headers=headers)


def upload(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """The page: empty, with what a file would change, or with what is wrong with it."""
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    form = FileForm(request.POST or None, request.FILES or None)
    context: dict[str, Any] = {**site.each_context(request), "title": _("Import endpoints"), "form": form}
    if form.is_valid():
        chosen = form.cleaned_data["file"]
        raw = chosen.read(yaml_io.MAX_FILE_BYTES + 1) if chosen else form.cleaned_data["text"].encode()
        try:
            prepared = importing.prepare(yaml_io.read_text(raw, name=chosen.name if chosen else "file"))
        except EndpointFileError as error:
            context["problems"] = error.problems
        else:
            if not chosen:
                importing.store(prepared)
                messages.success(request, said(prepared))
                return HttpResponseRedirect(reverse("admin:endpoints_endpoint_changelist"))
            context |= {"prepared": prepared, "text": raw.decode(errors="replace")}
    response = TemplateResponse(request, "admin/endpoints/endpoint/import.html", context)
    response["Cache-Control"] = "no-store"  # a file may hold credentials
    return response


def said(prepared: Import) -> str:
    added, changed, same = (
        prepared.count(outcome) for outcome in (Outcome.ADDED, Outcome.CHANGED, Outcome.UNCHANGED)
    )
    return gettext("Imported: {added} added, {changed} changed, {same} as they were.").format(
        added=added, changed=changed, same=same
    )

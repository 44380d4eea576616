"""The frame of every page: the bar's links, for the person who looks."""

from __future__ import annotations

from typing import Any

from django import template

from ollaproject import navigation
from ollaproject.wire import roles

register = template.Library()


@register.inclusion_tag("_navigation.html", takes_context=True)
def navigation_links(context: template.Context) -> dict[str, Any]:
    """The pages that this person may see. Nothing where nobody is known, such as on the page of a fault."""
    request = context.get("request")
    user = getattr(request, "user", None)
    if request is None or user is None:
        return {"links": []}
    return {"links": navigation.links(user, request.path)}


@register.filter
def enters_admin(user: roles.Person) -> bool:
    return roles.enters_admin(user)


@register.filter
def sees_fleet(user: roles.Person | None) -> bool:
    """Whether a link to the fleet leads there, maybe by way of the sign-in page. None: nobody is known."""
    return user is None or not user.is_authenticated or roles.sees_fleet(user)

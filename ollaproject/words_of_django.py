"""Words of Django's own pages that its German lacks: named here so that scripts/messages.py gathers them.

Nothing imports this. A translation of ours comes before one of Django's, so drop those that Django has by now
(tests/ollaproject/test_messages.py says when). Those of its scripts are in words_of_django.js.
"""

# ruff: noqa: RUF001 - the apostrophes are Django's
from __future__ import annotations

from django.utils.translation import gettext_noop

WORDS = (
    gettext_noop("After you’ve created a user, you’ll be able to edit more user options."),
    gettext_noop("This action will <strong>enable</strong> password-based authentication for this user."),
    gettext_noop("Disable password-based authentication"),
    gettext_noop("Enable password-based authentication"),
    gettext_noop("In case you’ve forgotten, you are:"),
    gettext_noop("Conflicting form data submitted. Please try again."),
    gettext_noop("Password-based authentication was disabled."),
    gettext_noop("Set password: %s"),
    gettext_noop("Reset password"),
    gettext_noop("Set password"),
    gettext_noop(
        "Whether the user will be able to authenticate using a password or not. If disabled, they may still "
        "be able to authenticate using other backends, such as Single Sign-On or LDAP."
    ),
    gettext_noop("Password-based authentication"),
    gettext_noop("Enabled"),
    gettext_noop("Disabled"),
    gettext_noop("Raw passwords are not stored, so there is no way to see the user’s password."),
    gettext_noop("Enable password-based authentication for this user by setting a password."),
    gettext_noop("%(model)s instance with %(field)s %(value)r is not a valid choice."),
)

"""What `manage.py doctor` looks at: every part that the gateway needs, and what to do about what is not well.

Each examination stands alone: what one finds out, or fails at, hides nothing of the others. They change
nothing and say nothing secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import Error

from ollaproject.doctor import fleet, machine, servers
from ollaproject.doctor.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Examination = Callable[[], Iterable[Finding]]

# In the order in which a person mends them: what stands further down needs what stands above.
EXAMINATIONS: tuple[tuple[str, Examination], ...] = (
    ("settings", machine.configuration),
    ("disk", machine.disks),
    ("database", servers.database),
    ("broker", servers.broker),
    ("clock", servers.clocks),
    ("accounts", fleet.accounts),
    ("web", fleet.web_processes),
    ("checks", fleet.health_checks),
    ("endpoints", fleet.endpoints),
    ("local models", fleet.local_models),
)


def examine() -> Iterator[Finding]:
    """What is found, one examination after another; each part is named at least once."""
    for part, examination in EXAMINATIONS:
        try:
            yield from examination()
        except (
            Error
        ) as error:  # said once, by the examination of the database; here it is why nothing is known
            yield Finding(
                part,
                Level.WARNING,
                f"Not known: the database does not answer ({type(error).__name__}).",
                "Mend the database first.",
            )

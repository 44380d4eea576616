"""What can go wrong in the fleet. Every message is a sentence for an operator, and none holds a credential.

FleetError
├─ ProfileError         a backend type's data file that is wrong
├─ CredentialError      a stored credential that none of the encryption keys opens
├─ DiscoveryError       a model list that cannot be read
├─ DetectionError       a URL whose type cannot be found out
└─ EndpointFileError    an endpoint file with mistakes in it (all of them, with their lines)
"""

from __future__ import annotations


class FleetError(Exception):
    """The root of the tree."""


class ProfileError(FleetError):
    """A profile that cannot be used. The message names its file."""


class CredentialError(FleetError):
    """A credential that cannot be read. The message names the endpoint."""


class DiscoveryError(FleetError):
    """A list of models that cannot be read. The message says why in plain words."""


class DetectionError(FleetError):
    """What runs at a URL cannot be found out. The message says why in plain words."""


class EndpointFileError(FleetError):
    """A file of endpoints that is refused. `problems` are its mistakes, each `file:line: path: sentence`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

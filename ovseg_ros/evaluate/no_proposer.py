"""What stands in for a preset's generator where the masks are given."""

from __future__ import annotations

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.errors import ConfigError


class NoProposer:
    """A generator that is never asked: no weights of one are loaded, or missed."""

    classifies = False

    def propose(self, frame: Frame) -> Proposals:
        """There is nothing to propose with.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("no generator was loaded, as the masks are given; masks cannot be proposed")

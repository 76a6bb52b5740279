"""What one frame may cost: set by whoever has a deadline to keep."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """Limits for one frame; None leaves a choice to whoever is asked.

    Attributes:
        new_embeddings: most masks encoded this frame, new tracks before refreshed ones. A hard limit, of
            which one is always granted, so that everything has its turn. A mask left out keeps the embedding
            of its track, or, where there is none yet, stays unseen and unlabelled.
        points_per_side: points of the prompt grid along each side, for proposals that have one.
    """

    new_embeddings: int | None = None
    points_per_side: int | None = None

    def __post_init__(self) -> None:
        if self.new_embeddings is not None and self.new_embeddings < 0:
            raise ConfigError(f"expected new_embeddings at least 0, got {self.new_embeddings}")
        if self.points_per_side is not None and self.points_per_side < 1:
            raise ConfigError(f"expected points_per_side at least 1, got {self.points_per_side}")

    @property
    def most_encoded(self) -> int | None:
        """The masks that may be encoded, at least 1; None for any number."""
        return None if self.new_embeddings is None else max(self.new_embeddings, 1)

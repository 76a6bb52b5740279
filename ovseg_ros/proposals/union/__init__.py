"""Several generators as one: their masks together, each thing once."""

from ovseg_ros.proposals.union.joined import without_duplicates
from ovseg_ros.proposals.union.proposer import UnionOptions, UnionProposals
from ovseg_ros.proposals.union.things import distinct

__all__ = ["UnionOptions", "UnionProposals", "distinct", "without_duplicates"]

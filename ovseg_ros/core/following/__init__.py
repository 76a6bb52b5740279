"""One thing followed by its track and its looks: where it is, hidden or lost; never another in its place."""

from ovseg_ros.core.following.following import Following, FollowOptions
from ovseg_ros.core.following.view import State, View, Whereabouts

__all__ = ["FollowOptions", "Following", "State", "View", "Whereabouts"]

"""What planners send: queries, services, the action, and the answers."""

"""Messages in and out: conversions, subscriptions, publishers."""

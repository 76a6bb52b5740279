"""Trains what adapts `lite` to masked crops of real photographs."""

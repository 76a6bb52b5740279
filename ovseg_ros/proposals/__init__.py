"""Class-agnostic mask proposal generators, one module each, all with .propose(frame)."""

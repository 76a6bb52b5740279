"""Class-agnostic mask proposal generators, all with `.propose(frame)`."""

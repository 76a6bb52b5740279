"""The thread that looks at frames, what it holds, and how it fares."""

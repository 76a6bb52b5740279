"""Reading, checking and splitting checkpoints of others."""

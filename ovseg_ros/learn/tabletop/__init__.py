"""The rendered table: recordings, training data, and the networks that come with the package."""

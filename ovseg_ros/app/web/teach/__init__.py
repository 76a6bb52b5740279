"""Names of one's own on the page: a click shows a thing, a name teaches it."""

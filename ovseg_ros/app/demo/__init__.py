"""`make demo` and `ovseg demo`: questions to the bundled recordings, held against their truth."""

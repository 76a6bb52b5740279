"""The `ovseg` command: a folder for each subcommand that is more than a file."""

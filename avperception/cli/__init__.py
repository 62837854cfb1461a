"""The `avperception` command line."""

"""The `oche` command: verbs to functions."""

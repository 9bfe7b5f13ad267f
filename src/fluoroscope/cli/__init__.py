"""The command line: every analysis in the registry is a command, derived from its specification."""

"""How fast it is, measured beside others in the same run."""

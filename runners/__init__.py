"""How it runs and is operated: a profile for each engine, the command line, the account of a run."""

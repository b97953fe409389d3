"""Dataflow: job graphs and templates, made on this machine, and its jobs."""

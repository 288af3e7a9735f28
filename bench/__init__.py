"""Experiments and benchmarks: `python -m bench --help` lists the commands."""

"""Measurements, each runnable as `python -m benchmarks.<name>`; the numbers in the documentation come from here."""

"""The pure kernel: a saga's code, its deterministic loop and its history. No clock, no I/O, no Ray, no Redis.

Law: given the same facts at the same times, an instance makes the same decisions in every process. Everything
else in this project exists to bring it facts and to carry its decisions out.
"""

"""The store: what is durable. See ``port.py`` for the contract."""

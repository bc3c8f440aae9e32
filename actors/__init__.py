"""Thin Ray shells around the engine: host, worker, dispatcher, supervisor. Users never import this package.

Law: nothing here knows what a saga is. An actor starts what it wraps, carries batches of bytes in and out, and says
that it is alive; who may write is decided in Redis, never by an actor's name.
"""

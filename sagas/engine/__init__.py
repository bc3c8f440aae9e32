"""The engine: mailbox -> activation -> group commit -> dispatch, for the shards a host owns. asyncio, no Ray."""

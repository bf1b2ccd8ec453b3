"""What operators look at and press: sessions, syncs, dead letters. Mounted by handlers.asgi when it is on."""

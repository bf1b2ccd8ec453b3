"""The operators' console: sessions, syncs, dead letters. ``handlers.asgi`` mounts it."""

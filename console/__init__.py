"""The operators' console: sessions, syncs, dead letters. ``handlers.asgi`` mounts it."""

from threadsync.extras import need_extra

need_extra("console", "jinja2", "python_multipart", "celery", "psycopg", "httpx", "zxcvbn")

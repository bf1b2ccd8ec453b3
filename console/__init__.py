"""What operators look at and press: sessions, syncs, dead letters. Mounted by handlers.asgi when it is on."""

from threadsync.extras import need_extra

need_extra("console", "jinja2", "python_multipart", "zxcvbn", "psycopg")

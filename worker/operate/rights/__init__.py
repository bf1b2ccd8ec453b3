"""Rights of each process: which broker user, which login of Postgres, which settings."""

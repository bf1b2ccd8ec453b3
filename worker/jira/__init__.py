"""Jira: what a ticket looks like, the one POST that makes it, and the calls that look for it."""

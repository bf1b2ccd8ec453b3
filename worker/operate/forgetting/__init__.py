"""Forget people and their words, wherever they are ours, messages on their way included."""

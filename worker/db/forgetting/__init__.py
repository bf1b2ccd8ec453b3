"""Columns that hold personal data, and the functions that erase it."""

"""Columns that hold something of people, and the functions that take it away."""

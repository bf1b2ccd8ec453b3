"""Tests for ``make test-all``: brokers, storms and failovers, which take longer than ``make test`` may."""

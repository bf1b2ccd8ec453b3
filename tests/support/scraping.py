"""Metrics as Prometheus reads them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from worker.http_once import tls_context

Samples = dict[str, float]
"""By name and labels as one writes them: ``threadsync_sessions{status="synced"}``."""


def scrape(port: int, host: str = "127.0.0.1") -> Samples:
    """Return all samples; none while the endpoint does not respond."""
    try:
        text = httpx.get(f"http://{host}:{port}/metrics", timeout=10, verify=tls_context()).text
    except httpx.TransportError:
        return {}
    return samples_of(text)


def samples_of(text: str) -> Samples:
    """All samples of a page of metrics."""
    return {
        _written(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _written(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name

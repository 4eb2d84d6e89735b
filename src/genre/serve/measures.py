"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.3, 0.5, 1.0, 2.5, 10.0)


class Measures:
    """Counters and histograms of one service; each service has its own, so that two in a process do not mix."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter("genre_requests_total", "Requests answered", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "genre_request_seconds", "Time to answer", ["route"], buckets=SECONDS, registry=registry
        )
        self.slates = Counter("genre_slates_total", "Slates answered", ["rung", "model"], registry=registry)
        self.degraded = Counter("genre_degraded_total", "What slates had to go without", ["reason"], registry=registry)
        self.explored = Counter("genre_explored_slates_total", "Slates that the policy chose", registry=registry)
        self.filled = Counter("genre_reserve_items_total", "Items that came from the reserve", registry=registry)
        self.stages = Counter(
            "genre_stage_seconds_total", "Time on the inference thread by step", ["stage"], registry=registry
        )
        self.events = Counter("genre_events_total", "Events taken", ["status"], registry=registry)
        self.refused = Counter("genre_refused_total", "Requests refused", ["reason"], registry=registry)
        self.lost = Counter("genre_slates_lost_total", "Slates that could not be written", registry=registry)
        self.loads = Counter("genre_model_loads_total", "Models loaded", ["outcome"], registry=registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Read a number whenever it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)

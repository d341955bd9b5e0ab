"""What a server has done, for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agentbank_jax.serving.engine_thread import EngineThread

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class ServingMetrics:
    """Counts requests and times replies; the engine's own counts are read when they are asked for.

    Fields:
      requests: by path and status; 499 where the client left before it was answered.
      first_token, per_token, request_seconds: histograms in seconds: from a request to its first token, between the
        tokens of a reply, and from a request to the end of a reply.
    """

    def __init__(self, thread: EngineThread) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("agentbank_requests", "Requests answered.", ("path", "status"), registry=self._registry)
        self.first_token = self._histogram("time_to_first_token", "From a request to the first token of its reply.")
        self.per_token = self._histogram("time_per_output_token", "Between the tokens of a reply, its mean.")
        self.request_seconds = self._histogram("request_duration", "From a request to the end of a reply.")
        self._registry.register(_EngineCollector(thread))

    def _histogram(self, name: str, told: str) -> Histogram:
        return Histogram(f"agentbank_{name}_seconds", told, buckets=_SECONDS, registry=self._registry)

    def page(self) -> bytes:
        """Returns all of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineCollector(Collector):
    def __init__(self, thread: EngineThread) -> None:
        self._thread = thread

    def collect(self) -> Iterator[Metric]:
        thread = self._thread
        running = min(thread.load.running, thread.under_way)
        yield GaugeMetricFamily("agentbank_requests_running", "Replies that have a place of the engine.", running)
        yield GaugeMetricFamily(
            "agentbank_requests_waiting", "Replies that wait for a place.", thread.under_way - running
        )
        yield GaugeMetricFamily("agentbank_engine_slots", "Places of the engine.", thread.load.slots)
        yield GaugeMetricFamily(
            "agentbank_resident_tokens", "Tokens in the engine's cache.", thread.load.resident_tokens
        )
        yield GaugeMetricFamily("agentbank_engine_healthy", "1 while the engine runs.", int(thread.healthy))
        stats = thread.stats
        for name, value, told in (
            ("prefilled", stats.prefilled, "Tokens read from prompts."),
            ("generated", stats.generated, "Tokens written."),
            ("reused", stats.reused, "Tokens of prompts that were in the cache already."),
        ):
            yield CounterMetricFamily(f"agentbank_tokens_{name}", told, value)
        yield CounterMetricFamily("agentbank_evictions", "Conversations that left the device.", stats.evictions)

"""The processes that run beside a load: prompt generator, scraper, and exporter of telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.endpoints.choice import endpoint_of
from bench.load.components import target_of
from bench.load.worker import feed_ahead
from bench.run_files.run_directory import GPU, SERVER, RunDirectory
from bench.target.scrape_task import ScrapeTask
from bench.target.scraper import OFF, Scraper, pages_of

if TYPE_CHECKING:
    from bench.config import RunConfig
    from bench.load.feed import FeedProcess
    from bench.observer import Observer
    from bench.telemetry.exporting import Telemetry


@dataclass(frozen=True, slots=True)
class Companions:
    """The processes beside the load. Each imports its modules while the main process loads its tokenizer."""

    feed: FeedProcess | None
    scraper: Scraper | None
    telemetry: Telemetry | None

    def load_ended(self) -> None:
        if self.scraper is not None:
            self.scraper.close()
        if self.feed is not None:
            self.feed.end()

    def linger(self, observer: Observer) -> None:
        """Wait for one more read of the metrics page."""
        if self.telemetry is not None and self.telemetry.lingers:
            with observer.waiting(f"waiting until {self.telemetry.page} is read once more"):
                self.telemetry.linger()


@contextmanager
def companions(config: RunConfig, directory: RunDirectory) -> Iterator[Companions]:
    """Start the processes, and end them on exit. Raises UsageError if a package is missing."""
    telemetry = _telemetry(config, directory)
    feed = feed_ahead(config) if config.cluster is None else None
    try:
        yield Companions(feed, _scraper(config, directory), telemetry)
    finally:
        if telemetry is not None:
            telemetry.close()


def _scraper(config: RunConfig, directory: RunDirectory) -> Scraper | None:
    """The scraper of the server's metrics. It starts up in the background."""
    targets = [target_of(config.at_address(address)) for address in config.addresses]
    # Only inference servers are likely to serve metrics beside their API: other services are not asked by default.
    named = config.server_metrics if endpoint_of(config).counts_tokens else config.server_metrics or (OFF,)
    pages = pages_of(named, config.gpu_metrics, targets)
    if not pages:
        return None
    path, gpu_path = (str(directory.path / name) for name in (SERVER, GPU))
    target = targets[0]  # For the settings that all targets share.
    return Scraper(
        ScrapeTask(
            pages,
            path,
            gpu_path,
            ca_file=target.ca_file,
            insecure=target.insecure,
            client_cert=target.client_cert,
            client_key=target.client_key,
            proxy=target.proxy,
        )
    )


def _telemetry(config: RunConfig, directory: RunDirectory) -> Telemetry | None:
    if config.otlp is None and config.metrics_address is None:
        return None
    from bench.telemetry.exporting import Telemetry
    from bench.telemetry.task import FINISH_WITHIN_S, TelemetryTask

    return Telemetry(
        TelemetryTask(
            directory=str(directory.path),
            otlp=config.otlp,
            address=config.metrics_address,
            linger_s=config.metrics_linger,
            finish_within_s=FINISH_WITHIN_S,
        )
    )

"""A scrape job of Prometheus."""

from __future__ import annotations

from .plan import Plan
from .text import lines, quoted, words


def _target(address: str, plan: Plan) -> str:
    """Where the metrics of a server are."""
    if address.startswith("unix:"):
        return f"127.0.0.1:{plan.probe_port}"
    return f"{address.rpartition(':')[0]}:{plan.listen}" if plan.probes_apart else address


def render(plan: Plan) -> str:
    """A whole configuration, for `prometheus --config.file`."""
    targets = [_target(address, plan) for address in plan.servers]
    return lines(
        f"""\
scrape_configs:
  - job_name: {quoted(plan.name)}
    metrics_path: {plan.prefix}/metrics
    # A scrape runs no check: it may be as frequent as you like.
    scrape_interval: 15s
    scrape_timeout: 5s
    # The value of HEALTH_TOKEN. Without it the series that name a check are missing.
    authorization:
      credentials_file: /etc/prometheus/{plan.name}.token
    static_configs:
      - targets: {words(targets)}"""
    )

"""A scrape job of Prometheus."""

from __future__ import annotations

from .plan import Plan
from .text import lines, quoted, words


def render(plan: Plan) -> str:
    """A whole configuration, for `prometheus --config.file`."""
    hosts = [address.rpartition(":")[0] for address in plan.servers]
    targets = [f"{host}:{plan.listen}" for host in hosts] if plan.probes_apart else plan.servers
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
      - targets: {words(list(targets))}"""
    )

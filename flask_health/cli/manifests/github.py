"""A job of GitHub Actions that waits for a release and verifies its version."""

from __future__ import annotations

from .plan import Plan
from .text import lines

SPARE = 60
"""Seconds that a rollout may take besides the setup of a pod."""


def render(plan: Plan) -> str:
    """A workflow that others call once they have deployed."""
    wait = plan.start + plan.grace + SPARE
    url = f"https://{plan.host}{plan.prefix}"
    return lines(
        f"""\
name: Verify a release
on:
  workflow_call:
    inputs:
      version:
        description: What HEALTH_VERSION of the new release is
        type: string
        required: true
    secrets:
      token:
        description: HEALTH_TOKEN, which shows the version
        required: true
permissions: {{}}
jobs:
  verify:
    runs-on: ubuntu-latest
    # setup {plan.start} + stop of an old one {plan.grace} + {SPARE} to spare = {wait} s; pip: 2 min
    timeout-minutes: {-(-wait // 60) + 2}
    env:
      FLASK_HEALTH_TOKEN: ${{{{ secrets.token }}}}
      VERSION: ${{{{ inputs.version }}}}
    steps:
      - run: pip install flask-health
      - name: Wait until the release serves
        run: flask-health wait --timeout {wait} --expect-version "$VERSION" {url}
      - name: Say what runs
        if: ${{{{ always() }}}}
        run: flask-health check --expect-version "$VERSION" {url}"""
    )

"""A Deployment with its three probes, and a Service."""

from __future__ import annotations

import math

from .plan import Plan
from .text import block, comment, items, lines, quoted

START_PERIOD = 2
"""Seconds between two looks at a pod that starts."""


def render(plan: Plan) -> str:
    """The manifest, for `kubectl apply -f -`."""
    return lines(_head(plan), _pod(plan), _environment(plan), _probes(plan), _rest(plan))


def _head(plan: Plan) -> str:
    fleet = (
        f"\n# kubectl create secret generic {plan.name}-fleet \\\n"
        "#   --from-literal=url=redis://:PASSWORD@redis:6379/0"
        if plan.fleet
        else ""
    )
    return f"""\
# Before the first `kubectl apply`, the token that opens details:
# kubectl create secret generic {plan.name}-health \\
#   --from-literal=token="$(openssl rand -hex 16)"{fleet}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {plan.name}
  labels:
    app.kubernetes.io/name: {plan.name}"""


def _pod(plan: Plan) -> str:
    return f"""\
spec:
  replicas: {plan.replicas}
  selector:
    matchLabels:
      app.kubernetes.io/name: {plan.name}
  strategy:
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0 # a new pod is ready before an old one is stopped
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {plan.name}
    spec:
      # {plan.grace_sum} = {plan.grace}
      terminationGracePeriodSeconds: {plan.grace}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: app
          image: {quoted(plan.image)}
          args:
{items(plan.command("/run/health"), 12)}
          ports:
            - name: http
              containerPort: {plan.port}
            - name: health
              containerPort: {plan.listen}"""


def _environment(plan: Plan) -> str:
    fleet = (
        f"""
            - name: FLASK_HEALTH_FLEET_URL
              valueFrom:
                secretKeyRef:
                  name: {plan.name}-fleet
                  key: url
            # "false": without Redis a pod starts all the same, and runs the fleet's steps itself.
            - name: FLASK_HEALTH_FLEET_REQUIRED
              value: "{plan.fleet_required}"
            # The release, as that of the image: the fleet's steps run once for each.
            - name: FLASK_HEALTH_VERSION
              value: "{plan.release}\""""
        if plan.fleet
        else ""
    )
    return f"""\
          env:
            # The second port: it answers while every worker is busy.
            - name: FLASK_HEALTH_LISTEN
              value: "0.0.0.0:{plan.listen}"
            - name: FLASK_HEALTH_STATE_DIR
              value: /run/health
            - name: FLASK_HEALTH_TOKEN
              valueFrom:
                secretKeyRef:
                  name: {plan.name}-health
                  key: token
                  optional: true # without it nobody sees details{fleet}"""


def _probes(plan: Plan) -> str:
    attempts = math.ceil(plan.start / START_PERIOD)
    return block(
        f"""
        startupProbe:
          httpGet:
            path: {plan.prefix}/startup
            port: health
{comment(plan.start_sum, 10)}
          periodSeconds: {START_PERIOD}
          failureThreshold: {attempts} # x {START_PERIOD} s = {attempts * START_PERIOD} s
          timeoutSeconds: 1
        readinessProbe:
          httpGet:
            path: {plan.prefix}/ready
            port: health
{comment(plan.drain_note(plan.ready), 10)}
          periodSeconds: {plan.ready.period}
          failureThreshold: {plan.ready.failures}
          timeoutSeconds: {plan.ready.timeout}
        livenessProbe:
          httpGet:
            path: {plan.prefix}/live
            port: health
{comment(plan.live_note, 10)}
          periodSeconds: {plan.live.period}
          failureThreshold: {plan.live.failures}
          timeoutSeconds: {plan.live.timeout}
        lifecycle:
          preStop:
            exec:
              # Red at once, before SIGTERM; the drain delay counts from here.
              command: ["flask-health", "drain", "--state", "/run/health"]""",
        10,
    )


def _rest(plan: Plan) -> str:
    return f"""\
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: ["ALL"]
          volumeMounts:
            - name: state
              mountPath: /run/health
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: state # where workers meet, and gunicorn's heartbeats: names and a few pages
          emptyDir:
            medium: Memory
            sizeLimit: 16Mi
        - name: tmp
          emptyDir: {{}}
---
apiVersion: v1
kind: Service
metadata:
  name: {plan.name}
  labels:
    app.kubernetes.io/name: {plan.name}
spec:
  selector:
    app.kubernetes.io/name: {plan.name}
  ports:
    - name: http
      port: 80
      targetPort: http"""

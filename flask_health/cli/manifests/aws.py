"""A target group of an AWS Application Load Balancer, as CloudFormation."""

from __future__ import annotations

from .plan import Plan, Rhythm
from .text import comment, lines, quoted

RHYTHM = Rhythm(period=5, failures=2, timeout=2)
"""The fastest that an ALB can."""


def render(plan: Plan) -> str:
    """The template, for `aws cloudformation deploy`."""
    return lines(
        f"""\
AWSTemplateFormatVersion: "2010-09-09"
Description: {quoted(f"Targets of {plan.name}, asked for readiness")}
Parameters:
  Vpc:
    Type: AWS::EC2::VPC::Id
Resources:
  Targets:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      VpcId: !Ref Vpc
      TargetType: ip
      Protocol: HTTP
      Port: {plan.port}
      HealthCheckProtocol: HTTP
      HealthCheckPort: {quoted(plan.probe_port)} # let the balancer reach it
      HealthCheckPath: {plan.prefix}/ready
{comment(plan.drain_note(RHYTHM), 6)}
      HealthCheckIntervalSeconds: {RHYTHM.period}
      UnhealthyThresholdCount: {RHYTHM.failures}
      HealthCheckTimeoutSeconds: {RHYTHM.timeout}
      HealthyThresholdCount: 2
      Matcher:
        HttpCode: "200"
      TargetGroupAttributes:
        - Key: deregistration_delay.timeout_seconds
          Value: {quoted(plan.graceful)} # requests under way end within gunicorn's graceful timeout
        - Key: slow_start.duration_seconds
          Value: "30" # the shortest that there is
Outputs:
  TargetGroup:
    Value: !Ref Targets
# In ECS, of the container: StopTimeout: {plan.stop}, and the health check of the Dockerfile."""
    )

"""Facts of the code that documents are compared with."""

from typing import get_args

import plan_sight
import refresh_sight
import registration_sight
import sight
from byline.authorization_service import ErrorClass as RegistrationErrorClass
from problems import PROBLEM_REASONS
from refresh_errors import ERROR_CLASSES as REFRESH_ERROR_CLASSES

from byline.errors import REASONS as REFUSED_CREDENTIAL_REASONS

__all__ = [
    "METRICS",
    "PROBLEM_REASONS",
    "REFRESH_ERROR_CLASSES",
    "REFUSED_CREDENTIAL_REASONS",
    "REGISTRATION_ERROR_CLASSES",
]

REGISTRATION_ERROR_CLASSES = frozenset(get_args(RegistrationErrorClass))

METRICS: dict[str, frozenset[str]] = {
    "RunsFunction": frozenset(get_args(sight.MetricName)),
    "PlanRefreshFunction": frozenset(get_args(plan_sight.MetricName)),
    "RefreshTokensFunction": frozenset(get_args(refresh_sight.MetricName)),
    "RegisterResourcesFunction": frozenset(get_args(registration_sight.MetricName)),
}
"""The names of the metrics that each function writes."""

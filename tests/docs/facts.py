"""Facts of the code that documents are compared with."""

from typing import get_args

from byline.errors import REASONS as REFUSED_CREDENTIAL_REASONS
from byline.metrics import METRICS
from byline.registration.answers import ErrorClass as RegistrationErrorClass
from refresh_tokens.errors import ERROR_CLASSES as REFRESH_ERROR_CLASSES
from serve_runs.web.reasons import REASONS

__all__ = [
    "METRICS",
    "PROBLEM_REASONS",
    "REFRESH_ERROR_CLASSES",
    "REFUSED_CREDENTIAL_REASONS",
    "REGISTRATION_ERROR_CLASSES",
]

REGISTRATION_ERROR_CLASSES = frozenset(get_args(RegistrationErrorClass))

PROBLEM_REASONS: frozenset[str] = frozenset(REASONS)

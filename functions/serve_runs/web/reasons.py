"""The table of reasons: the HTTP status, sentence and meaning of each.

docs/openapi.json and docs/reasons.md are generated from it. Clients may match on a reason, but its
sentence and meaning may change.
"""

from collections.abc import Mapping

import msgspec

from byline.errors import Reason
from serve_runs.errors import RequestReason

type ProblemReason = Reason | RequestReason

RETRY_SECONDS = 2
"""The `Retry-After` of a 503. A retry asks DynamoDB at once, and an issuer after 5 seconds."""


class ReasonEntry(msgspec.Struct, frozen=True):
    """A reason's HTTP status, its sentence for the caller, and its meaning for the reader of docs.

    `sentence` is the `detail` of a problem that has no detail of its own.
    """

    status: int
    sentence: str
    meaning: str
    retry_after_seconds: int | None = None


def _rejected(sentence: str, meaning: str) -> ReasonEntry:
    return ReasonEntry(401, sentence, meaning)


def _unavailable(sentence: str, meaning: str) -> ReasonEntry:
    return ReasonEntry(503, sentence, meaning, RETRY_SECONDS)


REASONS: Mapping[ProblemReason, ReasonEntry] = {
    # The credential (RFC 9110, section 15.5.2)
    "no_credentials": _rejected(
        "The request has no credential that this target group accepts.",
        "The target group's credential is missing: the load balancer's token or a Bearer token.",
    ),
    "duplicated_header": _rejected(
        "The credential's header was sent more than once.",
        "Two components could read different values, so neither value is accepted.",
    ),
    "unsupported_scheme": _rejected(
        "The scheme of `Authorization` is not Bearer.",
        "Only Bearer tokens are accepted (RFC 6750).",
    ),
    "token_too_large": _rejected("The token is too large.", "The token has over 16,384 bytes."),
    "malformed_token": _rejected(
        "The token is malformed.", "The token is not a strict compact JWS (RFC 7515)."
    ),
    "unsupported_algorithm": _rejected(
        "The token's signature algorithm is not accepted.",
        "The issuer is not configured to sign with this `alg`.",
    ),
    "unsupported_critical_header": _rejected(
        "The token's header requires an extension.", "The header has `crit` (RFC 7515, 4.1.11)."
    ),
    "untrusted_signer": _rejected(
        "Another load balancer signed the token.",
        "`signer` is not in `LoadBalancerArns`.",
    ),
    "untrusted_client": _rejected(
        "The token is for another client.", "`client` is not `OidcClientId`."
    ),
    "untrusted_issuer": _rejected(
        "The token's issuer is not trusted.",
        "`iss` is neither `OidcIssuer` nor listed in `TrustedIssuers`.",
    ),
    "untrusted_audience": _rejected(
        "The token is for another audience.",
        "`aud` contains none of the issuer's configured `audiences`.",
    ),
    "unknown_key": _rejected(
        "The token's key is not published.", "The issuer or region has no key with this `kid`."
    ),
    "unusable_key": _rejected(
        "The token's key is unusable.",
        "The key is published, but not for this algorithm, or it is too weak.",
    ),
    "bad_signature": _rejected(
        "The token's signature is wrong.", "Another key signed the token, or it was changed."
    ),
    "expired": _rejected("The token has expired.", "`exp` has passed."),
    "not_yet_valid": _rejected(
        "The token is not valid yet.", "`nbf` or `iat` is more than 30 seconds ahead."
    ),
    "wrong_token_type": _rejected(
        "The token is not an access token.", "It is an ID or refresh token, or bound to a key."
    ),
    "missing_claim": _rejected("The token lacks a claim.", "A required claim is missing."),
    "malformed_claim": _rejected(
        "A claim of the token is malformed.", "A claim has the wrong type or is too long."
    ),
    "subject_mismatch": _rejected(
        "Token and header name different subjects.",
        "An unsigned header, or userinfo, names another subject than the token.",
    ),
    "unknown_caller_kind": _rejected(
        "The token does not show whether its subject is a person or a service account.",
        "The issuer's profile proves neither a person nor a service account.",
    ),
    "claims_not_allowed": _rejected(
        "The token's claims are not allowed here.",
        "The claims meet no condition of the issuer's `allow` in `TrustedIssuers`.",
    ),
    # The request
    "invalid_name": ReasonEntry(
        400, "A name in the path is invalid.", "A project, runner or credential name is invalid."
    ),
    "invalid_body": ReasonEntry(
        400, "The body is invalid.", "The body is not JSON of the expected shape."
    ),
    "invalid_parameter": ReasonEntry(
        400, "A query parameter is invalid.", "A parameter is unknown, repeated or out of range."
    ),
    "invalid_cursor": ReasonEntry(
        400,
        "The cursor does not belong to this query. Start again without one.",
        "The cursor was changed, or comes from another query.",
    ),
    "invalid_idempotency_key": ReasonEntry(
        400,
        "Send one Idempotency-Key of 1 to 255 visible ASCII characters.",
        "The header `Idempotency-Key` is repeated, empty, or too long.",
    ),
    "cross_site_request": ReasonEntry(
        403,
        "A page of another site sent this request. Send it from the service's own origin.",
        "A page of another site made a browser change something, read a token, wait or sign out.",
    ),
    "forbidden": ReasonEntry(
        403,
        "You can read this, but none of your roles allows the action.",
        "The resource exists, the caller may read it, and no role permits the action, which "
        "`permission` names.",
    ),
    "run_not_executed": ReasonEntry(
        403,
        "`run` is not a run of this project that you execute.",
        "A token was read for a run that does not exist in the project, or that another executes.",
    ),
    "run_required": ReasonEntry(
        403,
        "You may read this credential only for a run with certain labels. Name it in `run`.",
        "All readers of the credential that the caller is have `run_labels`.",
    ),
    "run_labels_differ": ReasonEntry(
        403,
        "The run in `run` lacks the labels for which you may read this credential.",
        "The run's labels are not those of a reader of the credential that the caller is.",
    ),
    "not_found": ReasonEntry(
        404,
        "The resource does not exist, or you may not read it.",
        "The resource does not exist, or the caller may not know of it.",
    ),
    "method_not_allowed": ReasonEntry(
        405,
        "This path does not support the method. `Allow` lists those it supports.",
        "The path exists, but not with this method. `Allow` lists its methods.",
    ),
    "wrong_state": ReasonEntry(
        409,
        "The run's state does not permit the change.",
        "The run's state, in `current_status`, does not permit the change, or the read of a token.",
    ),
    "run_deleted": ReasonEntry(
        409,
        "The run of this Idempotency-Key has been deleted.",
        "The key created a run that was deleted later.",
    ),
    "last_admin": ReasonEntry(
        409,
        "A project needs at least one admin. Grant `project:admin` to another principal first.",
        "The change would leave the project without an admin.",
    ),
    "project_exists": ReasonEntry(
        409,
        "This name is taken. It stays taken when its project is deleted.",
        "Another project has the name, or had it. `ProjectAdmins` may create a deleted one again.",
    ),
    "runs_live": ReasonEntry(
        409,
        "The project has live runs. End them, or send `live_runs=cancel`.",
        "The project to delete has pending or running runs, as many as `live_runs` says.",
    ),
    "already_registered": ReasonEntry(
        409,
        "This service account already acts for another person in this project.",
        "In each project a service account acts for one person at a time, and an agent has one "
        "name.",
    ),
    "body_too_large": ReasonEntry(413, "The body is too large.", "The body has over 65,536 bytes."),
    "unsupported_media_type": ReasonEntry(
        415, "The body must be application/json.", "`Content-Type` is not `application/json`."
    ),
    "idempotency_conflict": ReasonEntry(
        422,
        "This Idempotency-Key was sent before with another body.",
        "The same key and caller came with another body before.",
    ),
    "unknown_email": ReasonEntry(
        422,
        "Nobody has this e-mail address with their issuer's verification. Name the principal.",
        "No person has called whose issuer says that it has verified the e-mail address. "
        "`candidates` has the people who state it, for callers who may read the project's roles.",
    ),
    "ambiguous_email": ReasonEntry(
        422,
        "Several people have this verified e-mail address. Name the principal of one of them.",
        "Several principals have the address with their issuer's verification. `candidates` has "
        "them, for callers who may read the project's roles.",
    ),
    "invalid_parent_run": ReasonEntry(
        422,
        "`parent_run` is not a run of this project that you may read.",
        "`parent_run` does not exist in the project, or the caller may not read it.",
    ),
    "invalid_service_account_token": ReasonEntry(
        422,
        "`token` must be a current token of the service account.",
        "The token in the body is rejected, or its subject is not a service account.",
    ),
    "too_many_changes": ReasonEntry(
        429,
        "A credential can be changed 100 times in 24 hours. Retry later.",
        "Secrets Manager keeps each version for 24 hours, and at most 100 versions.",
        retry_after_seconds=3_600,
    ),
    "too_many_refreshes": ReasonEntry(
        429,
        "This token was refreshed a moment ago, or too often in 24 hours. Retry later.",
        "A refresh of the token was asked for less than 10 seconds ago. Or live tokens were "
        "replaced on request 4 times in 24 hours for each of its secrets.",
        retry_after_seconds=10,
    ),
    "too_many_waits": ReasonEntry(
        429,
        "Too many requests wait for messages. Retry, or ask without `wait`.",
        "The caller's places for waiting requests are taken. Each keeps an execution busy.",
        retry_after_seconds=5,
    ),
    "internal": ReasonEntry(
        500,
        "An unexpected error occurred. Report the request id in `instance`.",
        "An unexpected error. Search the logs for the request id in `instance`.",
    ),
    "grant_refused": ReasonEntry(
        502,
        "The authorization service refused the grant.",
        "The authorization service refused to let the service account act for the caller.",
    ),
    "keys_unavailable": _unavailable(
        "Could not fetch the keys that verify the caller's token. Retry.",
        "The issuer or the region did not answer, or was asked for another unknown key a few "
        "seconds ago. So the token was neither accepted nor rejected.",
    ),
    "store_unavailable": _unavailable(
        "The tables or secrets cannot be read or written right now. Retry.",
        "AWS did not answer or throttled the call, or other requests changed the same rows. The "
        "change may have been made; a retry is harmless.",
    ),
    "token_unavailable": _unavailable(
        "No live token is available right now. Retry.",
        "The runner has no live token yet, or the secret cannot be read yet.",
    ),
    "grant_unavailable": _unavailable(
        "The authorization service does not answer, or still revokes an earlier grant. Retry.",
        "The authorization service could not be reached, so no service account was registered.",
    ),
}

"""What AWS says, sorted once for all its services: throttled, to be tried again, refused, or wrong from the start.

The codes are those of https://docs.aws.amazon.com/general/latest/gr/api-retries.html and of each service's own page of
errors; what botocore itself retries is in its `retries/standard.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from thingbeam.io.errors import AuthenticationError, ConnectorError, MismatchError, MissingError, UnreachableError

__all__ = [
    "AGAIN",
    "THROTTLES",
    "AccessDeniedError",
    "AwsConfigurationError",
    "AwsError",
    "CredentialsError",
    "Kind",
    "WrongRegionError",
    "code_of",
    "connector_error",
    "kind_of",
    "kind_of_code",
    "message_of",
]

Kind = Literal["throttled", "again", "refused", "wrong"]
"""throttled: slow down. again: the service or the way to it failed. refused: this request will never do. wrong: no
request will, until a person mends credentials, permissions, names or region."""

THROTTLES: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMSThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes that say: less, or later."""

AGAIN: Final = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalFailureException",
        "InternalServerError",
        "OperationAborted",
        "ReplicatedWriteConflictException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Codes of failures that pass."""

_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_UNKNOWN_KEYS: Final = frozenset(
    {
        "AuthFailure",
        "IDPCommunicationError",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "InvalidSecurity",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotSignedUp",
        "OptInRequired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "AuthorizationError",
        "KMSAccessDeniedException",
        "NotAuthorized",
        "UnauthorizedOperation",
    }
)
_MISSING: Final = frozenset({"NoSuchBucket", "ResourceNotFoundException", "TableNotFoundException"})
_REGION: Final = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"})
_NO_CREDENTIALS: Final = frozenset(
    {
        "ConfigNotFound",
        "ConfigParseError",
        "CredentialRetrievalError",
        "InvalidConfigError",
        "MetadataRetrievalError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "RefreshWithMFAUnsupportedError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
_CANONICAL: Final = "The Canonical String"
_LONGEST: Final = 300
_SCOPE: Final = "scoped to a valid region"


class AwsError(ConnectorError):
    """A failure of AWS's that trying again at once will not mend."""


class AwsConfigurationError(ConnectorError):
    """What we were told cannot work on this worker."""


class CredentialsError(AuthenticationError):
    """There are no credentials, or AWS does not know them, or they have run out."""


class AccessDeniedError(AuthenticationError):
    """AWS knows who we are and does not let us."""


class WrongRegionError(MismatchError):
    """What was asked for lives in another region."""


def kind_of_code(code: str, status: int = 0) -> Kind:
    """What to do about an error code, as the answer to a call or to one row of it has it.

    Args:
        code: AWS's.
        status: of HTTP, where there is one.

    >>> kind_of_code("ProvisionedThroughputExceededException"), kind_of_code("ValidationException", 400)
    ('throttled', 'refused')
    """
    if code in THROTTLES or status == 429:
        return "throttled"
    if code in AGAIN or status >= 500:
        return "again"
    if code in _EXPIRED or code in _UNKNOWN_KEYS or code in _DENIED or code in _MISSING or code in _REGION:
        return "wrong"
    # S3 answers HEAD without a body, so the status is all there is.
    return "wrong" if status in (301, 401, 403) else "refused"


def kind_of(error: BaseException) -> Kind:
    """What to do about what a boto3 client raised.

    An error that is not AWS's, botocore's or the network's is a mistake of ours: it is `refused`.
    """
    response = _response_of(error)
    if response is not None:
        if _SCOPE in message_of(error):
            return "wrong"
        return kind_of_code(code_of(error), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)))
    if type(error).__name__ in _NO_CREDENTIALS or isinstance(error, ConnectorError):
        return "wrong"
    return "again" if _is_network(error) else "refused"


def code_of(error: BaseException) -> str:
    """AWS's code of the error; the name of its class where AWS did not answer."""
    response = _response_of(error)
    code = "" if response is None else str(response.get("Error", {}).get("Code", ""))
    return code or type(error).__name__


def message_of(error: BaseException) -> str:
    """What AWS says, on one line, cut to size.

    Of a wrong signature it also says what should have been signed; a session's token is in that, so it is left out.
    """
    response = _response_of(error)
    text = str(error) if response is None else str(response.get("Error", {}).get("Message") or error)
    text = " ".join(text.partition(_CANONICAL)[0].split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def connector_error(error: BaseException, what: str, needs: str = "") -> ConnectorError:
    """The error in our words, on one line, to be raised from it.

    Args:
        error: what a boto3 client raised.
        what: what it was about, to begin with: `stream events (region eu-west-1)`.
        needs: the permissions that the call needs, as `kinesis:GetRecords`.

    >>> from botocore.exceptions import ClientError
    >>> answer = {"Error": {"Code": "ExpiredToken", "Message": "The security token is expired"}}
    >>> print(connector_error(ClientError(answer, "GetRecords"), "stream events"))
    stream events: the AWS credentials have run out (ExpiredToken): renew them, or use a role
    """
    if isinstance(error, ConnectorError):
        return error
    code, said = code_of(error), message_of(error)
    operation = getattr(error, "operation_name", "")
    if code in _REGION or _SCOPE in said or _status_of(error) == 301:
        return WrongRegionError(f"{what}: it lives in another region ({code}: {said}): say region= of the resource")
    if code in _EXPIRED:
        return CredentialsError(f"{what}: the AWS credentials have run out ({code}): renew them, or use a role")
    if code in _UNKNOWN_KEYS:
        return CredentialsError(f"{what}: AWS does not know these credentials ({code}: {said})")
    if code in _NO_CREDENTIALS:
        return CredentialsError(
            f"{what}: no AWS credentials ({said}): give access_key= and secret_key= by reference, profile=, or the "
            "worker a role"
        )
    if code in _DENIED or _status_of(error) == 403:
        action = needs or operation
        return AccessDeniedError(f"{what}: no permission{f' for {action}' if action else ''} ({code}: {said})")
    if code in _MISSING:
        return MissingError(f"{what}: not there ({said}): is name, region and account right?")
    if _response_of(error) is None and _is_network(error):
        return UnreachableError(f"{what}: no answer ({said}): is region or endpoint right, and the way there open?")
    return AwsError(f"{what}: {operation or code}: {code}: {said}")


def _response_of(error: BaseException) -> Mapping[str, Any] | None:
    found = getattr(error, "response", None)
    return found if isinstance(found, Mapping) else None


def _status_of(error: BaseException) -> int:
    response = _response_of(error)
    return 0 if response is None else int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_network(error: BaseException) -> bool:
    """Whether the way to AWS failed: botocore has an error of its own for each way that it can."""
    if isinstance(error, OSError):
        return True
    from botocore.exceptions import (
        ConnectionError as BotoConnectionError,
    )
    from botocore.exceptions import (
        EventStreamError,
        HTTPClientError,
        IncompleteReadError,
        ResponseStreamingError,
    )

    network = (BotoConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError, EventStreamError)
    # What breaks while an answer is streamed comes as the library below botocore has it.
    return isinstance(error, network) or type(error).__module__.startswith("urllib3.")

"""What AWS says, in our words."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)
from botocore.httpsession import ProtocolError

from thingbeam.io.aws.errors import (
    AccessDeniedError,
    AwsError,
    CredentialsError,
    WrongRegionError,
    code_of,
    connector_error,
    kind_of,
    kind_of_code,
    message_of,
)
from thingbeam.io.errors import ConnectorError, MissingError, UnreachableError


def said(code: str, message: str = "no", status: int = 400) -> ClientError:
    """An error as boto3 raises it."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetRecords"
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (said("ProvisionedThroughputExceededException"), "throttled"),
        (said("ThrottlingException"), "throttled"),
        (said("SlowDown", status=503), "throttled"),
        (said("Whatever", status=429), "throttled"),
        (said("InternalFailure", status=500), "again"),
        (said("ServiceUnavailable", status=503), "again"),
        (said("Unheard", status=502), "again"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9"), "again"),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:9"), "again"),
        (ConnectionResetError(), "again"),
        (ProtocolError("Response ended prematurely"), "again"),
        (said("ValidationException"), "refused"),
        (said("ConditionalCheckFailedException"), "refused"),
        (KeyError("ours"), "refused"),
        (said("ExpiredTokenException"), "wrong"),
        (said("AccessDeniedException"), "wrong"),
        (said("ResourceNotFoundException"), "wrong"),
        (said("InvalidSignatureException", "Credential should be scoped to a valid region"), "wrong"),
        (said("403", status=403), "wrong"),
        (NoCredentialsError(), "wrong"),
        (ConnectorError("ours"), "wrong"),
    ],
)
def test_what_is_to_be_done(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


def test_the_code_of_one_row() -> None:
    assert kind_of_code("ProvisionedThroughputExceededException") == "throttled"
    assert kind_of_code("InternalFailure") == "again"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (said("ExpiredTokenException"), CredentialsError, "have run out"),
        (said("UnrecognizedClientException", "The security token is invalid"), CredentialsError, "does not know"),
        (NoCredentialsError(), CredentialsError, "no AWS credentials"),
        (ProfileNotFound(profile="farm"), CredentialsError, "farm"),
        (said("AccessDeniedException", "User x may not"), AccessDeniedError, "no permission for kinesis:GetRecords"),
        (said("403", "Forbidden", 403), AccessDeniedError, "no permission"),
        (said("ResourceNotFoundException", "Stream a under account 1 not found."), MissingError, "right?"),
        (said("PermanentRedirect", status=301), WrongRegionError, "another region"),
        (said("301", status=301), WrongRegionError, "another region"),
        (said("SignatureDoesNotMatch", "Credential should be scoped to a valid region"), WrongRegionError, "region="),
        (EndpointConnectionError(endpoint_url="https://x"), UnreachableError, "region or endpoint right"),
        (said("Unheard"), AwsError, "GetRecords: Unheard"),
    ],
)
def test_in_one_line_for_a_person(error: Exception, kind: type[Exception], words: str) -> None:
    found = connector_error(error, "stream events", "kinesis:GetRecords")
    assert type(found) is kind
    assert str(found).startswith("stream events: ")
    assert words in str(found)
    assert "\n" not in str(found)


def test_ours_stay_as_they_are() -> None:
    ours = MissingError("gone")
    assert connector_error(ours, "stream events") is ours


def test_what_should_have_been_signed_is_not_repeated() -> None:
    error = said(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match.\n\nThe Canonical String for this request should have been"
        "\n'POST\nx-amz-security-token:hunter2'",
    )
    assert message_of(error) == "The request signature we calculated does not match."
    assert "hunter2" not in str(connector_error(error, "stream events"))
    assert len(message_of(said("X", "y" * 1000))) == 301
    assert code_of(error) == "SignatureDoesNotMatch"
    assert code_of(ValueError()) == "ValueError"

"""Tokens for AWS IAM on Amazon MSK, signed with the worker's own credentials.

A token is a presigned request (Signature Version 4 in the query) for the action kafka-cluster:Connect, as base64
without padding: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and
https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html. No request is made for it.
"""

from __future__ import annotations

import base64
import datetime
import importlib
from typing import Any, Final

__all__ = ["msk_token"]

_SECONDS: Final = 900
_SERVICE: Final = "kafka-cluster"
_ROLE_SESSION: Final = "thingbeam"


def msk_token(region: str, profile: str | None = None, role_arn: str | None = None) -> tuple[str, float]:
    """A token for one region, and when it runs out, in seconds since 1970.

    Args:
        region: of the cluster.
        profile: of the AWS configuration; None for what boto3 finds by itself.
        role_arn: a role to take on first.

    Raises:
        ModuleNotFoundError: boto3 is not installed.
        PermissionError: there are no AWS credentials on this worker.
    """
    try:
        boto3: Any = importlib.import_module("boto3")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("IAM on MSK needs boto3: pip install 'thingbeam[aws]'", name=error.name) from error
    session = boto3.Session(profile_name=profile)
    if role_arn is not None:
        given = session.client("sts", region_name=region).assume_role(RoleArn=role_arn, RoleSessionName=_ROLE_SESSION)
        keys = given["Credentials"]
        session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    credentials = session.get_credentials()
    if credentials is None:
        raise PermissionError("IAM on MSK: this worker has no AWS credentials")
    return sign(credentials.get_frozen_credentials(), region)


def sign(credentials: Any, region: str) -> tuple[str, float]:
    """A token of given credentials, and when it runs out."""
    auth: Any = importlib.import_module("botocore.auth")
    requests: Any = importlib.import_module("botocore.awsrequest")
    url = f"https://kafka.{region}.amazonaws.com/"
    request = requests.AWSRequest("GET", url, params={"Action": f"{_SERVICE}:Connect"})
    auth.SigV4QueryAuth(credentials, _SERVICE, region, expires=_SECONDS).add_auth(request)
    signed: str = request.url
    # What is added after the signature is not part of it.
    token = base64.urlsafe_b64encode(f"{signed}&User-Agent=thingbeam".encode()).decode().rstrip("=")
    signed_at = datetime.datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    return token, signed_at.timestamp() + _SECONDS

"""How to reach one AWS resource: region, endpoint, who we are, and how long to wait. Each resource has its own.

A configuration holds no secret and no client: it travels in the job's graph, and clients are made from it on the
workers. So two regions and two accounts in one pipeline are two configurations.

Credentials are had in this order: keys by reference, a web identity, else what boto3 finds for the profile (variables,
files, container, instance). The roles are then taken on one after the other. Temporary ones are renewed by botocore
before they run out: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from thingbeam import __version__
from thingbeam.io.aws.errors import AwsConfigurationError, connector_error
from thingbeam.io.secrets import check_reference, secret

if TYPE_CHECKING:
    import boto3

__all__ = ["AwsConfig", "Role", "WebIdentity"]

_INSTALL: Final = "AWS needs boto3: pip install 'thingbeam[aws]'"
_ARN: Final = re.compile(r"arn:[\w-]+:iam::\d{12}:role/\S+")
_REGION: Final = re.compile(r"[a-z0-9-]+")
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}")
_CONNECTIONS: Final = 64


@dataclass(frozen=True)
class Role:
    """A role to take on.

    Attributes:
        arn: `arn:aws:iam::ACCOUNT:role/NAME`.
        external_id: what the role's owner asks for; no secret, says AWS.
        session_name: how the calls show in CloudTrail.
        seconds: how long one set of credentials lasts; AWS allows an hour at most where a role takes on another.
    """

    arn: str
    external_id: str | None = None
    session_name: str = "thingbeam"
    seconds: int = 3600

    def __post_init__(self) -> None:
        """Refuse what STS would refuse later."""
        if not _ARN.fullmatch(self.arn):
            raise ValueError(f"role {self.arn!r}: an ARN is expected, arn:aws:iam::ACCOUNT:role/NAME")
        if not _SESSION_NAME.fullmatch(self.session_name):
            raise ValueError(f"session_name {self.session_name!r}: 2 to 64 letters, digits and any of +=,.@-_")
        if not 900 <= self.seconds <= 43_200:
            raise ValueError(f"role {self.arn}: its credentials last 900 to 43200 seconds, not {self.seconds}")

    def arguments(self) -> dict[str, Any]:
        """As AssumeRole has them, without the ARN."""
        given: dict[str, Any] = {"RoleSessionName": self.session_name, "DurationSeconds": self.seconds}
        return given if self.external_id is None else given | {"ExternalId": self.external_id}


@dataclass(frozen=True)
class WebIdentity:
    """A role taken on with a token that somebody else vouches for, as pods of EKS have it.

    Attributes:
        role: whose external id is not used.
        token: a path on the worker. Read anew for every renewal.
    """

    role: Role
    token: str


@dataclass(frozen=True)
class AwsConfig:
    """One AWS resource's region, endpoint and account.

    Attributes:
        region: None for the worker's own: AWS_DEFAULT_REGION, or that of the profile.
        endpoint: `http://127.0.0.1:4567` for a local server or `https://…` of a VPC; None for AWS's own.
        profile: of the AWS configuration on the worker.
        access_key: a reference, `env:NAME` or `file:PATH`; needs secret_key.
        secret_key: a reference.
        session_token: a reference, for temporary keys. It is read when the client is made, and not renewed.
        web_identity: instead of keys.
        roles: taken on one after the other.
        sts_endpoint: where roles are asked for; None for AWS's own in `region`.
        connect_timeout: seconds.
        read_timeout: seconds without a byte of an answer.
        attempts: how often a call is tried by botocore, which waits between with jitter. The sinks try once and do the
            rest themselves, since they know which rows failed.

    Raises:
        ValueError: what cannot work, as the pipeline is built.

    >>> AwsConfig("eu-central-1", access_key="AKIDEXAMPLE", secret_key="env:SECRET")
    Traceback (most recent call last):
    ...
    ValueError: access_key must be a reference, env:NAME or file:PATH, so that it stays out of the job's graph
    """

    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    session_token: str | None = None
    web_identity: WebIdentity | None = None
    roles: tuple[Role, ...] = ()
    sts_endpoint: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    attempts: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.region is not None and not _REGION.fullmatch(self.region):
            raise ValueError(f"region {self.region!r}: a name like eu-central-1 is expected")
        for name, url in (("endpoint", self.endpoint), ("sts_endpoint", self.sts_endpoint)):
            if url is not None and not _is_url(url):
                raise ValueError(f"{name} {url!r}: http://HOST:PORT or https://HOST is expected, without user or path")
        for name in ("access_key", "secret_key", "session_token"):
            reference = getattr(self, name)
            if reference is not None:
                check_reference(reference, name)
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("session_token needs access_key and secret_key")
        said = [n for n in ("profile", "access_key", "web_identity") if getattr(self, n) is not None]
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)}: say who you are in one way")
        for name in ("connect_timeout", "read_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} {getattr(self, name)}: above 0")
        if self.attempts < 1:
            raise ValueError(f"attempts {self.attempts}: at least 1")

    @classmethod
    def parse(cls, query: Iterable[tuple[str, str]]) -> tuple[AwsConfig, dict[str, str]]:
        """From the names and values of a URI's query, and what of them is not AWS's.

        What it takes: `region`, `endpoint`, `profile`, `access_key`, `secret_key`, `session_token`, `role` (as often as
        there are roles in the chain) with `external_id` (of the last role, or as often as `role`, empty for none),
        `web_identity_role` with `web_identity_token` (a path), `sts_endpoint`, `connect_timeout`, `read_timeout`,
        `attempts`.

        Args:
            query: as `urllib.parse.parse_qsl(…, keep_blank_values=True)` gives it.

        Raises:
            ValueError: one line that says what is wrong, without any secret.

        >>> config, rest = AwsConfig.parse([("region", "eu-west-1"), ("start", "latest")])
        >>> config.region, rest
        ('eu-west-1', {'start': 'latest'})
        """
        single: dict[str, str] = {}
        arns: list[str] = []
        ids: list[str] = []
        for name, value in query:
            if name == "role":
                arns.append(value)
            elif name == "external_id":
                ids.append(value)
            elif name in single:
                raise ValueError(f"{name} is given twice")
            else:
                single[name] = value
        given: dict[str, Any] = {name: single.pop(name) for name in _TEXTS if name in single}
        for name, read in _NUMBERS.items():
            if name in single:
                text = single.pop(name)
                try:
                    given[name] = read(text)
                except ValueError:
                    raise ValueError(f"{name}={text}: a number is expected") from None
        identity = single.pop("web_identity_role", None), single.pop("web_identity_token", None)
        if (identity[0] is None) != (identity[1] is None):
            raise ValueError("web_identity_role and web_identity_token go together")
        if identity[0] is not None and identity[1] is not None:
            given["web_identity"] = WebIdentity(Role(identity[0]), identity[1])
        return cls(roles=_chain(arns, ids), **given), single

    def client(self, service: str, *, attempts: int | None = None, checked: bool = True) -> Any:
        """A boto3 client; one for this process, whoever asks, and safe to use from several threads.

        Args:
            service: as boto3 calls it: `kinesis`, `dynamodb`, `s3`.
            attempts: instead of the configuration's; 1 for callers that try again themselves.
            checked: whether botocore looks at all arguments of a call by the service's model, which for rows takes as
                long as all else that a call does; False for callers that make them right.

        Raises:
            ModuleNotFoundError: boto3 is not installed.
            ConnectorError: no region, no such profile, or credentials that cannot be read; one line.
        """
        key = self, service, attempts, checked
        with _lock:
            if key not in _clients:
                _clients[key] = self._make_client(
                    service, self.attempts if attempts is None else attempts, checked=checked
                )
            return _clients[key]

    def describe(self) -> str:
        """The region and endpoint, for messages.

        >>> AwsConfig("eu-west-1", "http://127.0.0.1:4567").describe()
        'region eu-west-1 at http://127.0.0.1:4567'
        """
        where = f"region {self.region}" if self.region else "the worker's region"
        return f"{where} at {self.endpoint}" if self.endpoint else where

    def _make_client(self, service: str, attempts: int, *, checked: bool) -> Any:
        try:
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(_INSTALL, name=error.name) from error
        settings = {"s3": {"addressing_style": "path"}} if self.endpoint else {}
        config = Config(
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            user_agent_extra=f"thingbeam/{__version__}",
            max_pool_connections=_CONNECTIONS,
            parameter_validation=checked,
            tcp_keepalive=True,
            **settings,
        )
        return self._session().client(service, endpoint_url=self.endpoint, config=config)

    def _session(self) -> boto3.Session:
        """One for all services, so that credentials are asked for once."""
        if self not in _sessions:
            import botocore.exceptions

            try:
                _sessions[self] = self._make_session()
            except botocore.exceptions.BotoCoreError as error:
                raise connector_error(error, self.describe()) from error
            except ValueError as error:
                raise AwsConfigurationError(str(error)) from error
        return _sessions[self]

    def _make_session(self) -> boto3.Session:
        import boto3
        import botocore.session
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        session: Any = botocore.session.Session(profile=self.profile)
        if self.region is not None:
            session.set_config_variable("region", self.region)
        if session.get_config_variable("region") is None:
            raise AwsConfigurationError(
                "no AWS region: say region=, or set AWS_DEFAULT_REGION or a profile's region on the worker"
            )
        if self.access_key is not None and self.secret_key is not None:
            token = None if self.session_token is None else secret(self.session_token, "session_token")
            session.set_credentials(secret(self.access_key, "access_key"), secret(self.secret_key, "secret_key"), token)
        ask = self._sts(session)
        if self.web_identity is not None:
            session._credentials = _with_token(ask, self.web_identity)
        for role in self.roles:
            source = session.get_credentials()
            if source is None:
                raise AwsConfigurationError(f"role {role.arn}: no AWS credentials on this worker to take it on with")
            fetcher = AssumeRoleCredentialFetcher(ask, source, role.arn, extra_args=role.arguments())
            # botocore has no public way to give a session credentials that renew themselves.
            session._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
        return boto3.Session(botocore_session=session)

    def _sts(self, session: Any) -> Any:
        """Makes the clients that ask for roles."""
        from botocore.config import Config

        common = Config(
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            user_agent_extra=f"thingbeam/{__version__}",
        )

        def create(service: str, config: Any = None, **more: Any) -> Any:
            merged = common if config is None else common.merge(config)
            return session.create_client(service, endpoint_url=self.sts_endpoint, config=merged, **more)

        return create


def _with_token(ask: Any, identity: WebIdentity) -> Any:
    from botocore.credentials import AssumeRoleWithWebIdentityCredentialFetcher, DeferredRefreshableCredentials

    def token() -> str:
        try:
            return Path(identity.token).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise AwsConfigurationError(
                f"web identity: cannot read the token {identity.token} on this worker: {error.strerror}"
            ) from error

    arguments = {name: value for name, value in identity.role.arguments().items() if name != "ExternalId"}
    fetcher = AssumeRoleWithWebIdentityCredentialFetcher(ask, token, identity.role.arn, extra_args=arguments)
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role-with-web-identity")


def _chain(arns: list[str], ids: list[str]) -> tuple[Role, ...]:
    if not ids:
        return tuple(Role(arn) for arn in arns)
    if len(ids) == 1 and arns:
        ids = [*[""] * (len(arns) - 1), *ids]
    if len(ids) != len(arns):
        raise ValueError(f"{len(ids)} external_id for {len(arns)} role: give one for the last role, or one for each")
    return tuple(Role(arn, external or None) for arn, external in zip(arns, ids, strict=True))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and not parts.query


_TEXTS: Final = (
    "region", "endpoint", "profile", "access_key", "secret_key", "session_token", "sts_endpoint",
)  # fmt: skip
_NUMBERS: Final[Mapping[str, Any]] = {"connect_timeout": float, "read_timeout": float, "attempts": int}

_lock: Final = threading.RLock()
_clients: Final[dict[tuple[AwsConfig, str, int | None, bool], Any]] = {}
_sessions: Final[dict[AwsConfig, Any]] = {}

"""Tables made from their layout, and checked against it before anything runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.aws.errors import code_of, connector_error
from thingbeam.io.dynamodb.layout import TableLayout
from thingbeam.io.errors import ConnectorError, MismatchError

__all__ = ["check_table", "create_table", "shown"]

_LONGEST_S: Final = 120.0
_PAUSE_S: Final = 0.2


def shown(config: AwsConfig, table: str) -> str:
    """A table, for messages.

    >>> shown(AwsConfig("eu-west-1"), "usage")
    'table usage (region eu-west-1)'
    """
    return f"table {table} ({config.describe()})"


def check_table(config: AwsConfig, layout: TableLayout) -> None:
    """See that a table is there, is ready, and has the layout's key. Needs dynamodb:DescribeTable.

    Raises:
        ConnectorError: it is not, or it could not be asked; one line that says what is wrong.
    """
    where = shown(config, layout.name)
    table = _describe(config, layout.name)
    if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
        raise ConnectorError(f"{where}: it is {table['TableStatus']}: wait until it is ACTIVE")
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    has = [(one["AttributeName"], types[one["AttributeName"]]) for one in table["KeySchema"]]
    wanted = [(key.name, key.type) for key in layout.keys]
    if has != wanted:
        raise MismatchError(
            f"{where}: its key is {_key_shown(has)}, not {_key_shown(wanted)} as the layout says: mend the layout, or "
            "name another table"
        )


def create_table(config: AwsConfig, layout: TableLayout) -> bool:
    """Make a table where it is not there, wait until it is ready, and have DynamoDB remove what has expired.

    Needs dynamodb:CreateTable, DescribeTable, and for a TTL DescribeTimeToLive and UpdateTimeToLive.

    Returns:
        Whether it was made; one that was there is checked.

    Raises:
        ConnectorError: it could not be made, or is there with another key.
    """
    where = shown(config, layout.name)
    client = config.client("dynamodb")
    arguments: dict[str, Any] = {
        "TableName": layout.name,
        "KeySchema": [
            {"AttributeName": key.name, "KeyType": kind}
            for key, kind in zip(layout.keys, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [{"AttributeName": key.name, "AttributeType": key.type} for key in layout.keys],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if layout.capacity is not None:
        units = {"ReadCapacityUnits": layout.capacity.read, "WriteCapacityUnits": layout.capacity.write}
        arguments |= {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
    made = _try(where, "dynamodb:CreateTable", lambda: client.create_table(**arguments), "ResourceInUseException")
    until = time.monotonic() + _LONGEST_S
    while (status := _describe(config, layout.name)["TableStatus"]) not in ("ACTIVE", "UPDATING"):
        if time.monotonic() > until:
            raise ConnectorError(f"{where}: it is still {status} after {_LONGEST_S:.0f} s")
        time.sleep(_PAUSE_S)
    check_table(config, layout)
    if layout.ttl is not None:
        _expire(config, layout, layout.ttl.attribute)
    return made


def _expire(config: AwsConfig, layout: TableLayout, attribute: str) -> None:
    where, client = shown(config, layout.name), config.client("dynamodb")
    found: list[dict[str, Any]] = []
    _try(
        where,
        "dynamodb:DescribeTimeToLive",
        lambda: found.append(client.describe_time_to_live(TableName=layout.name)["TimeToLiveDescription"]),
    )
    if found[0]["TimeToLiveStatus"] in ("ENABLED", "ENABLING"):
        if found[0].get("AttributeName") != attribute:
            raise MismatchError(f"{where}: its items expire by {found[0].get('AttributeName')}, not by {attribute}")
        return
    specification = {"Enabled": True, "AttributeName": attribute}
    _try(
        where,
        "dynamodb:UpdateTimeToLive",
        lambda: client.update_time_to_live(TableName=layout.name, TimeToLiveSpecification=specification),
    )


def _describe(config: AwsConfig, table: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    client = config.client("dynamodb")
    _try(
        shown(config, table),
        "dynamodb:DescribeTable",
        lambda: found.append(client.describe_table(TableName=table)["Table"]),
    )
    return found[0]


def _try(where: str, needs: str, call: Any, passed: str = "") -> bool:
    """Whether a call was made; False where it failed with the code that is passed over."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        call()
    except (ClientError, BotoCoreError) as error:
        if passed and code_of(error) == passed:
            return False
        raise connector_error(error, where, needs) from error
    return True


def _key_shown(key: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in key)

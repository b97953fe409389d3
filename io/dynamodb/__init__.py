"""DynamoDB, native: keyed upserts in batches, parallel scans, lookups. No Java, no container."""

from __future__ import annotations

from thingbeam.io.aws.config import AwsConfig
from thingbeam.io.dynamodb.layout import Capacity, Key, TableLayout, Ttl
from thingbeam.io.dynamodb.lookup import DynamoDbLookup
from thingbeam.io.dynamodb.scan import ReadFromDynamoDB, ReadResults
from thingbeam.io.dynamodb.sink import WriteToDynamoDB
from thingbeam.io.dynamodb.tables import check_table, create_table
from thingbeam.io.dynamodb.uris import DynamoDbUri, parse_dynamodb_uri

__all__ = [
    "AwsConfig",
    "Capacity",
    "DynamoDbLookup",
    "DynamoDbUri",
    "Key",
    "ReadFromDynamoDB",
    "ReadResults",
    "TableLayout",
    "Ttl",
    "WriteToDynamoDB",
    "check_table",
    "create_table",
    "parse_dynamodb_uri",
]

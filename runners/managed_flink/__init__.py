"""AWS Managed Service for Apache Flink: packages of pipelines for it, and its applications."""

"""A client call that shows whether a Beam job service does its work."""

from __future__ import annotations

from typing import Final

__all__ = ["ask_job_service"]

_ANSWER_SECONDS: Final = 2.0


def ask_job_service(address: str) -> None:
    """Asks a Beam job service (Flink's job server, Prism) for its pipeline options.

    Args:
        address: HOST:PORT.

    Raises:
        Exception: it does not answer.
    """
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
    from apache_beam.runners.worker.channel_factory import GRPCChannelFactory

    with GRPCChannelFactory.insecure_channel(address) as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        service.DescribePipelineOptions(beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_ANSWER_SECONDS)

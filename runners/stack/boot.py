"""Starts a Python worker for an engine that runs workers as processes (Beam's environment type PROCESS).

Beam's own boot program, made for containers, also installs the packages that a job brings; this one runs the worker in
the interpreter and the packages that are there. The engine starts it with `--id` and the address of its provision
service, which tells the rest (https://s.apache.org/beam-fn-api-container-contract).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Asks the provision service and becomes the worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    given, _ = parser.parse_known_args(arguments)
    os.environ |= _environment(given.id, given.provision_endpoint)
    # A worker sees the packages that this process sees, and no others.
    flags = [flag for flag, is_set in (("-P", sys.flags.safe_path), ("-S", sys.flags.no_site)) if is_set]
    os.execv(sys.executable, [sys.executable, *flags, "-m", "apache_beam.runners.worker.sdk_worker_main"])  # noqa: S606


def _environment(worker: str, endpoint: str) -> dict[str, str]:
    """What the worker reads: which it is, where the engine's services are, and the job's options."""
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
    from apache_beam.runners.job.utils import struct_to_dict
    from apache_beam.runners.worker.channel_factory import GRPCChannelFactory

    with GRPCChannelFactory.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        info = service.GetProvisionInfo(request, metadata=[("worker_id", worker)], timeout=60).info
    environment = {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json.dumps(struct_to_dict(info.pipeline_options)),
        "LOGGING_API_SERVICE_DESCRIPTOR": _descriptor(info.logging_endpoint.url),
        "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(info.control_endpoint.url),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "SEMI_PERSISTENT_DIRECTORY": tempfile.gettempdir(),
    }
    if info.HasField("status_endpoint"):
        environment["STATUS_API_SERVICE_DESCRIPTOR"] = _descriptor(info.status_endpoint.url)
    return environment


def _descriptor(url: str) -> str:
    """An ApiServiceDescriptor in protobuf's text format."""
    return f"url: {json.dumps(url)}"


if __name__ == "__main__":
    main()

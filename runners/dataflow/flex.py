"""Flex templates: a file that describes a container image, which makes the job's graph when it is launched.

Unlike a classic template, its parameters are the application's own options. What is made here is the file, and the
folder that the image is built from; building and pushing it takes a container tool and an account.
https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from thingbeam.runners.dataflow.wheel import write_wheel

__all__ = ["parameters_of", "spec_of", "write_context"]

_PARAMETER: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")
_IMAGE: Final = re.compile(r"[a-z0-9.:-]+(/[a-z0-9._-]+)+([:@][\w.:-]+)?")
_UNSAID: Final = frozenset({"runner"})
_HOME: Final = "/template"
_DOCKERFILE: Final = """\
# docker build --build-arg LAUNCHER=IMAGE -t {image} .
# LAUNCHER is Google's launcher of Python templates; its name is in "Configure Flex Templates" of Dataflow's guide.
ARG LAUNCHER
FROM ${{LAUNCHER}} AS launcher
FROM apache/beam_python{python}_sdk:{beam}
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY {wheel} main.py {home}/
RUN pip install --no-cache-dir '{home}/{wheel}[dataflow{extras}]' && pip check
ENV FLEX_TEMPLATE_PYTHON_PY_FILE={home}/main.py
ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]
"""
_MAIN: Final = """\
from thingbeam.runners.dataflow.launched import main

main({application!r})
"""


def parameters_of(application: click.Command) -> list[dict[str, Any]]:
    """The parameters of a template: the options of an application, as ParameterMetadata.

    Args:
        application: a command of `thingbeam run`.
    """
    found: list[dict[str, Any]] = []
    for option in application.params:
        if not isinstance(option, click.Option) or name_of(option) in _UNSAID:
            continue
        regexes = []
        if isinstance(option.type, click.Choice):
            regexes = ["|".join(re.escape(str(choice)) for choice in option.type.choices)]
        elif option.is_flag:
            regexes = ["true|false"]
        one: dict[str, Any] = {"name": name_of(option), "label": name_of(option), "helpText": option.help or ""}
        if not option.required:
            one["isOptional"] = True
        if regexes:
            one["regexes"] = regexes
        found.append(one)
    return found


def name_of(option: click.Option) -> str:
    """The name of the parameter for an option: that of the flag, with underscores.

    >>> name_of(click.Option(["--session-gap", "gap"]))
    'session_gap'
    """
    flag = next((flag for flag in option.opts if flag.startswith("--")), option.opts[0])
    return flag.lstrip("-").replace("-", "_")


def spec_of(
    image: str,
    application: click.Command,
    *,
    streaming: bool = False,
    environment: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The file of a flex template: a ContainerSpec, as JSON.

    Args:
        image: of the container, with its tag.
        application: a command of `thingbeam run`.
        streaming: whether its jobs are streams.
        environment: defaults of a FlexTemplateRuntimeEnvironment, as JSON: `{"numWorkers": 2}`.

    Raises:
        ValueError: it is no name of an image.
    """
    if not _IMAGE.fullmatch(image):
        raise ValueError(f"--image {image}: a name like REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME:TAG is expected")
    parameters = parameters_of(application)
    name = application.name or "application"
    spec: dict[str, Any] = {
        "image": image,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": {
            "name": f"thingbeam {name}",
            "description": (application.help or "").strip().partition("\n")[0],
            "parameters": parameters,
            "streaming": streaming,
        },
    }
    if environment:
        spec["defaultEnvironment"] = dict(environment)
    return spec


def write_context(folder: Path, image: str, application: str, extras: Sequence[str] = ()) -> list[Path]:
    """Writes what the image is built from: Dockerfile, main.py, a wheel of thingbeam.

    Args:
        folder: made if it is not there; files of these names are replaced.
        image: what it will be called.
        application: name of a command of `thingbeam run`.
        extras: of thingbeam's, that go in: kafka, aws…

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheel = write_wheel(folder)
    dockerfile, main = folder / "Dockerfile", folder / "main.py"
    dockerfile.write_text(
        _DOCKERFILE.format(
            image=image,
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            beam=version("apache-beam"),
            wheel=wheel.name,
            home=_HOME,
            extras="".join(f",{extra}" for extra in extras),
        ),
        encoding="utf-8",
    )
    main.write_text(_MAIN.format(application=application), encoding="utf-8")
    return [dockerfile, main, wheel]


def write_spec(path: Path, spec: Mapping[str, Any]) -> None:
    """Writes the file of a template."""
    text = json.dumps(spec, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(text + "\n", encoding="utf-8")
    shutil.move(part, path)

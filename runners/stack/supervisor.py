"""Starts, watches, kills and restarts the components of a stack."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from thingbeam.runners.stack.component import Command, Component, Place
from thingbeam.runners.stack.errors import StackError
from thingbeam.runners.stack.ports import free_port, is_free
from thingbeam.runners.stack.processes import Identity, end, is_alive, start
from thingbeam.runners.stack.state import Entry, State, StateFile, default_directory
from thingbeam.runners.stack.tools import reason_in

__all__ = ["Stack", "Status", "running"]

_PAUSE_SECONDS: Final = 0.1
Target = tuple[str, str]
"""A component and one of its processes."""


@dataclass(frozen=True)
class Status:
    """How one process of a stack is."""

    name: str
    """`kafka`, or `flink/jobmanager` where the component has several."""
    state: str
    """ready, starting (alive and not answering), dead (ended by itself or by others) or stopped."""
    uri: str
    """What a client is told, or ""."""
    pid: int | None
    """Its process, where it is alive."""
    seconds: float | None
    """How long that has been running."""
    directory: Path
    """Of the component's data."""


class Stack:
    """Components in one folder: each started by one call or one process, killed or restarted by another.

    Args:
        directory: the stack's folder; [default: the user's].
        kinds: the components there are, by kind; [default: thingbeam's].
        with_parent: whether the processes are killed when the one that started them ends, however it ends; for tests.
        say: told what is going on, a line at a time.
    """

    def __init__(
        self,
        directory: Path | str | None = None,
        *,
        kinds: Mapping[str, type[Component]] | None = None,
        with_parent: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.directory = Path(directory).absolute() if directory is not None else default_directory()
        self._file = StateFile(self.directory)
        self._kinds = kinds if kinds is not None else _all_kinds()
        self._with_parent = with_parent
        self._say = say

    def up(self, components: Mapping[str, Component] | Sequence[Component] = ()) -> None:
        """Installs, prepares and starts components, all at the same time, and waits until each is ready.

        What runs already is left alone; what was stopped or has died comes back with its data, ports and settings.

        Args:
            components: by name, which is the kind or the kind, a hyphen and a label (`s3-eu`); none means all that
                the stack has.

        Raises:
            StackError: one of them could not be installed or started; the others go on. The message names the log.
            MissingToolError: a program that one needs is not there.
            ValueError: a component runs already with other settings.
        """
        wanted = dict(components) if isinstance(components, Mapping) else {c.kind: c for c in components}
        for name, component in wanted.items():
            if name != component.kind and not name.startswith(f"{component.kind}-"):
                raise ValueError(f"{name}: a {component.kind} is named {component.kind} or {component.kind}-LABEL")
        for component in {type(c): c for c in (wanted or self._known()).values()}.values():
            component.install()
        with self._file.changing() as (state, save):
            self._enter(state, wanted)
            save()
            names = list(wanted or state.components)
            begun = self._start(state, save, [(name, None) for name in names])
        self._await(begun)
        for name in names:
            self._component(state, name).started(self._place(state, name))

    def down(self, names: Sequence[str] = (), *, delete: bool = False) -> None:
        """Stops components: SIGKILL to all their processes, and waits until these are gone.

        Args:
            names: components or single processes; none means all.
            delete: forgets them too, with their data.

        Raises:
            StackError: one does not end.
            ValueError: there is none of that name.
        """
        with self._file.changing() as (state, save):
            for name in names or list(state.components):
                self._end(state, name)
                save()
                if delete:
                    owner = self._targets(state, name)[0][0]
                    del state.components[owner]
                    save()
                    shutil.rmtree(self.directory / owner, ignore_errors=True)

    def kill(self, name: str) -> None:
        """Kills a component or one of its processes with SIGKILL, as a crash would; data and ports stay.

        Raises:
            StackError: it was not running, or does not end.
            ValueError: there is none of that name.
        """
        with self._file.changing() as (state, save):
            was_alive = self._end(state, name)
            save()
        if not was_alive:
            raise StackError(f"{name} was not running")

    def restart(self, name: str) -> None:
        """Starts a component or one of its processes again, killed before if it runs; waits until it is ready.

        Raises:
            StackError: it does not start.
            ValueError: there is none of that name.
        """
        with self._file.changing() as (state, save):
            targets = self._targets(state, name)
            self._component(state, targets[0][0]).install()
            self._end(state, name)
            save()
            begun = self._start(state, save, targets)
        self._await(begun)
        self._component(state, targets[0][0]).started(self._place(state, targets[0][0]))

    def status(self) -> list[Status]:
        """How each process of the stack is; those alive are asked as a client would."""
        state = self._file.read()
        targets = [target for name in state.components for target in self._targets(state, name)]
        if not targets:
            return []
        with ThreadPoolExecutor(len(targets)) as pool:
            return list(pool.map(lambda target: self._status(state, target), targets))

    def place(self, name: str) -> Place:
        """Folder and ports of a component.

        Raises:
            ValueError: there is none of that name.
        """
        state = self._file.read()
        return self._place(state, self._targets(state, name)[0][0])

    def has(self, name: str) -> bool:
        """Whether the stack has a component of that name, running or not."""
        return name in self._file.read().components

    def component(self, name: str) -> Component:
        """A component with its settings.

        Raises:
            ValueError: there is none of that name.
        """
        state = self._file.read()
        return self._component(state, self._targets(state, name)[0][0])

    def uri(self, name: str) -> str:
        """What a client is told to find a component, or one of its processes.

        Raises:
            ValueError: there is none of that name.
        """
        state = self._file.read()
        owner, process = self._targets(state, name)[0]
        return self._component(state, owner).uri(self._place(state, owner), process)

    def pid(self, name: str) -> int | None:
        """The number of a process, or of a component's first; None where it does not run.

        Raises:
            ValueError: there is none of that name.
        """
        state = self._file.read()
        owner, process = self._targets(state, name)[0]
        identity = state.components[owner].processes[process]
        return identity.pid if identity is not None and is_alive(identity) else None

    def logs(self, name: str) -> list[Path]:
        """The log of a process, or those of all of a component's.

        Raises:
            ValueError: there is none of that name.
        """
        return [self._log(target) for target in self._targets(self._file.read(), name)]

    def _enter(self, state: State, wanted: Mapping[str, Component]) -> None:
        """Gives each component that is new, or is not running and has other settings now, its entry and ports."""
        for name, component in wanted.items():
            settings = msgspec.to_builtins(component)
            entry = state.components.get(name)
            if entry is not None and entry.settings == settings:
                continue
            kept: dict[str, int] = {}
            if entry is not None:
                if any(identity is not None and is_alive(identity) for identity in entry.processes.values()):
                    raise ValueError(f"{name} runs with other settings: `thingbeam stack down {name}` first")
                kept = entry.ports
            taken = {port for other in state.components.values() for port in other.ports.values()}
            ports: dict[str, int] = {}
            for use, preferred in component.ports().items():
                ports[use] = preferred or kept.get(use) or free_port(taken)
                taken.add(ports[use])
            processes = component.commands(Place(self.directory / name, ports))
            state.components[name] = Entry(component.kind, settings, ports, dict.fromkeys(processes))

    def _start(
        self, state: State, save: Callable[[], None], wanted: Iterable[tuple[str, str | None]]
    ) -> list[tuple[Component, Place, Target, Identity, int]]:
        """Starts what does not run, and has each process in the file before the next is started."""
        begun: list[tuple[Component, Place, Target, Identity, int]] = []
        ready: list[tuple[Component, Place, Target, Command]] = []
        for name, only in wanted:
            entry, place, component = state.components[name], self._place(state, name), self._component(state, name)
            missing = [
                process
                for process, identity in entry.processes.items()
                if only in (None, process) and not (identity is not None and is_alive(identity))
            ]
            if not missing:
                continue
            for process in missing:
                self._end(state, self._name((name, process)))
            if len(missing) == len(entry.processes):
                for use, port in place.ports.items():
                    if not is_free(port):
                        raise StackError(f"port {port}, {use} of {name}, is taken by another program")
            place.temporary.mkdir(parents=True, exist_ok=True)
            component.prepare(place)
            commands = component.commands(place)
            ready += [(component, place, (name, process), commands[process]) for process in missing]
        for component, place, target, command in ready:
            log = self._log(target)
            begin = log.stat().st_size if log.exists() else 0
            identity = start(command.argv, place.directory, log, command.environment, with_parent=self._with_parent)
            state.components[target[0]].processes[target[1]] = identity
            save()
            begun.append((component, place, target, identity, begin))
        return begun

    def _await(self, begun: Sequence[tuple[Component, Place, Target, Identity, int]]) -> None:
        if not begun:
            return
        with ThreadPoolExecutor(len(begun)) as pool:
            problems = [problem for problem in pool.map(lambda started: self._await_one(*started), begun) if problem]
        if problems:
            raise StackError("; ".join(problems))

    def _await_one(self, component: Component, place: Place, target: Target, identity: Identity, begin: int) -> str:
        """What is wrong with a process that was started, or ""."""
        name, log = self._name(target), self._log(target)
        clock = time.monotonic()
        while True:
            try:
                component.ready(place, target[1])
            except Exception as error:  # whatever a client raises while nobody answers
                if not is_alive(identity):
                    return f"{name} ended: {reason_in(log, begin) or 'it says nothing'}; log: {log}"
                if time.monotonic() - clock > component.start_seconds:
                    last = " ".join(str(error).split()) or type(error).__name__
                    return f"{name} is not ready after {component.start_seconds:.0f} s: {last}; log: {log}"
                time.sleep(_PAUSE_SECONDS)
            else:
                self._say(f"{name} ready after {time.monotonic() - clock:.1f} s")
                return ""

    def _end(self, state: State, name: str) -> bool:
        """Ends all processes of a name; whether one was alive."""
        was_alive = False
        for owner, process in self._targets(state, name):
            identity = state.components[owner].processes[process]
            if identity is not None:
                was_alive |= end(identity)
                state.components[owner].processes[process] = None
        return was_alive

    def _status(self, state: State, target: Target) -> Status:
        entry, place = state.components[target[0]], self._place(state, target[0])
        component, identity = self._component(state, target[0]), entry.processes[target[1]]
        if identity is None:
            condition = "stopped"
        elif not is_alive(identity):
            condition = "dead"
        else:
            try:
                component.ready(place, target[1])
                condition = "ready"
            except Exception:  # whatever a client raises
                condition = "starting"
        alive = identity if condition in ("ready", "starting") else None
        return Status(
            self._name(target),
            condition,
            component.uri(place, target[1]),
            alive.pid if alive else None,
            time.time() - alive.since if alive else None,
            place.directory,
        )

    def _targets(self, state: State, name: str) -> list[Target]:
        owner, _, process = name.partition("/")
        entry = state.components.get(owner)
        if entry is not None and not process:
            return [(owner, each) for each in entry.processes]
        if entry is not None and process in entry.processes:
            return [(owner, process)]
        known = [self._name((o, p)) for o, e in state.components.items() for p in e.processes]
        raise ValueError(f"{name}: not in this stack, which has {', '.join(known) or 'nothing'}")

    def _known(self) -> dict[str, Component]:
        state = self._file.read()
        return {name: self._component(state, name) for name in state.components}

    def _component(self, state: State, name: str) -> Component:
        entry = state.components[name]
        if entry.kind not in self._kinds:
            raise StackError(f"{name}: no component of kind {entry.kind}; there are {', '.join(self._kinds)}")
        return self._kinds[entry.kind].of(entry.settings)

    def _place(self, state: State, name: str) -> Place:
        return Place(self.directory / name, state.components[name].ports)

    def _log(self, target: Target) -> Path:
        owner, process = target
        return self.directory / owner / "logs" / f"{process or owner}.log"

    def _name(self, target: Target) -> str:
        owner, process = target
        return f"{owner}/{process}" if process else owner


def _all_kinds() -> Mapping[str, type[Component]]:
    from thingbeam.runners.stack.components import KINDS

    return KINDS


@contextmanager
def running(directory: Path | str, *components: Component) -> Generator[Stack]:
    """A stack of one's own for a while: up, then down, and gone with this process even if that is killed.

    Args:
        directory: an empty folder; it is left behind with data and logs.
        components: what it is made of.

    Raises:
        StackError: a component could not be installed or started.
        MissingToolError: a program that one needs is not there.
    """
    kinds = {component.kind: type(component) for component in components}
    stack = Stack(directory, kinds=kinds, with_parent=True)
    try:
        stack.up(components)
        yield stack
    finally:
        stack.down()

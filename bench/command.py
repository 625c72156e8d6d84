"""`bench/run`: start each server in turn, put the same load on each, print one table."""

import argparse
import dataclasses
import json
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from bench import machine
from bench.loadgen import build, put_load
from bench.scenario import FULL, QUICK, SCENARIOS, Scenario, Size
from bench.servers.chatrix import Chatrix
from bench.servers.ejabberd import Ejabberd
from bench.servers.prosody import Prosody
from bench.servers.server import Server, ServerFailed
from bench.summary import Result, number, read_results, table

SERVERS: tuple[type[Server], ...] = (Chatrix, Prosody, Ejabberd)
JUDGED = Chatrix.name


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status is 0 when every run yielded a figure, 1 when one failed, 2 when it broke off."""
    options = parse(arguments)
    names = [server.name for server in options.servers]
    if options.table:
        return show(options.table, options.scenarios, names)
    if missing := [reason for server in options.servers if (reason := server.missing())]:
        print(*missing, "Or name the servers to measure: --servers NAME...", sep="\n", file=sys.stderr)
        return 2
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, end_by_signal)
    # Every session is a socket here and in the server, which inherits the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        build()
        with results_folder(options.folder) as (kept, state):
            path = kept / "results.jsonl"
            say(f"every run is kept in {path}")
            with path.open("w", buffering=1) as log:
                results = measure(options.servers, options.scenarios, options.size, state, log)
            show(path, options.scenarios, names)
    except ServerFailed as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return 130
    if not any(result.problem for result in results):
        return 0
    if not options.folder:
        say("the servers' logs are gone with their state; --folder keeps both")
    return 1


def show(path: Path, scenarios: Sequence[Scenario], names: Sequence[str]) -> int:
    """Print the table of a results file; the exit status is 2 when it cannot be read."""
    try:
        conditions, results = read_results(path)
    except (OSError, ValueError, TypeError) as problem:
        print(f"{path} is no results file: {problem}", file=sys.stderr)
        return 2
    print(table(results, scenarios, names, JUDGED), end="\n\n")
    for line in conditions:
        print(f"{line['began']}: {', '.join(f'{name} {version}' for name, version in line['versions'].items())}")
        print(machine.compared(line["parse_us"]))
    return 0


def measure(
    servers: Sequence[type[Server]], scenarios: Sequence[Scenario], size: Size, state: Path, log: TextIO
) -> list[Result]:
    """Run everything, one server at a time and each freshly started; servers alternate within a scenario.

    Raises:
        ServerFailed: when a server cannot be prepared.
    """
    conditions = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {server.name: server.version() for server in servers},
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        "parse_us": round(min(machine.parse_us() for _ in range(5)), 2),
        "size": dataclasses.asdict(size),
    }
    print(json.dumps(conditions), file=log)
    prepared = prepare(servers, scenarios, size, state)
    results = []
    for run in range(1, size.runs + 1):
        for scenario in scenarios:
            for kind in servers:
                if runs_on(scenario, kind):
                    result = run_once(prepared[kind.name, scenario.needs == "archive"], scenario, size, run)
                    print(json.dumps(dataclasses.asdict(result)), file=log)
                    results.append(result)
    return results


def runs_on(scenario: Scenario, kind: type[Server]) -> bool:
    """Whether the server has what the scenario needs."""
    return not scenario.needs or scenario.needs in kind.offers


def prepare(
    servers: Sequence[type[Server]], scenarios: Sequence[Scenario], size: Size, state: Path
) -> dict[tuple[str, bool], Server]:
    """Every server that will be needed, with and without archive: all, before the first minute is spent measuring.

    Raises:
        ServerFailed: when one cannot be prepared.
    """
    prepared = {}
    for kind in servers:
        for archive in sorted({scenario.needs == "archive" for scenario in scenarios if runs_on(scenario, kind)}):
            say(f"{kind.name}: making {size.accounts} accounts{', archive on' if archive else ''}")
            server = kind(state / f"{kind.name}{'-archive' if archive else ''}", size.accounts, archive)
            server.prepare()
            prepared[kind.name, archive] = server
    return prepared


def run_once(server: Server, scenario: Scenario, size: Size, run: int) -> Result:
    """One scenario on one server, freshly started; a failure is a result too, and said at once."""
    figure, problem = None, ""
    found: dict[str, Any] = {}
    try:
        with server.running() as start_seconds:
            if scenario.settled:
                time.sleep(size.settle)
            if scenario.load:
                found, problem = put_load(scenario.arguments(size), server.port, server.pid)
            found["start_s"] = round(start_seconds, 3)
        figure = scenario.figure_of(found)
        if figure is None:
            problem = problem or f"no {scenario.figure} in the result"
    except ServerFailed as failure:
        problem = str(failure)
    shown = "failed" if figure is None else f"{number(figure)} {scenario.unit}"
    say(f"{scenario.name} {run}/{size.runs} {server.name}: {shown}{'; ' if problem else ''}{problem}")
    return Result(server.name, scenario.name, run, figure, problem, found)


def say(text: str) -> None:
    """Progress goes to standard error: standard output is the table."""
    print(text, file=sys.stderr, flush=True)


def end_by_signal(number: int, frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP end the run as Ctrl-C does: through every `finally` that stops something."""
    raise KeyboardInterrupt


@contextmanager
def results_folder(given: Path | None) -> Iterator[tuple[Path, Path]]:
    """Where the results stay, and where servers keep their state until the run ends.

    In a given folder the state stays too, logs included, for a look at what went wrong.
    """
    if given:
        given.mkdir(parents=True, exist_ok=True)
        yield given, Path(tempfile.mkdtemp(prefix="state-", dir=given)).resolve()
        return
    kept = Path(tempfile.mkdtemp(prefix="chatrix-bench-")).resolve()
    try:
        yield kept, kept / "state"
    finally:
        shutil.rmtree(kept / "state", ignore_errors=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with `servers`, `scenarios` and `size` made of them."""
    parser = argparse.ArgumentParser(prog="bench/run", description="Measure chatrix beside its peers; see README.md.")
    kinds = {kind.name.lower(): kind for kind in SERVERS}
    rows = {scenario.name: scenario for scenario in SCENARIOS}
    usual = [scenario.name for scenario in SCENARIOS if scenario.usual]
    parser.add_argument(
        "--servers", nargs="+", choices=kinds, default=list(kinds), metavar="NAME", help=", ".join(kinds)
    )
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=rows,
        default=usual,
        metavar="NAME",
        help=f"{', '.join(rows)} (default: {' '.join(usual)})",
    )
    parser.add_argument("--quick", action="store_true", help="one short run of each: a look, not a measurement")
    parser.add_argument("--runs", type=positive, help=f"runs of each scenario ({FULL.runs}; quick {QUICK.runs})")
    parser.add_argument(
        "--duration", type=positive, help=f"seconds of chat measured ({FULL.duration}; quick {QUICK.duration})"
    )
    parser.add_argument("--logins", type=positive, help=f"log-ins ({FULL.logins}; quick {QUICK.logins})")
    parser.add_argument("--sessions", type=positive, help=f"idle sessions ({FULL.sessions}; quick {QUICK.sessions})")
    parser.add_argument("--folder", type=Path, help="keep results.jsonl, state and logs here (a temporary folder)")
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="only print the table of a results file")
    options = parser.parse_args(arguments)
    options.servers = [kinds[name] for name in options.servers]
    options.scenarios = [scenario for scenario in SCENARIOS if scenario.name in options.scenarios]
    changes = {name: getattr(options, name) for name in ("runs", "duration", "logins", "sessions")}
    options.size = dataclasses.replace(
        QUICK if options.quick else FULL, **{name: value for name, value in changes.items() if value is not None}
    )
    return options


def positive(text: str) -> int:
    """A whole number above zero.

    Raises:
        argparse.ArgumentTypeError: when it is not.
    """
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)

"""From results to the table: the median of the runs of a scenario on a server, and their spread."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scenario import Scenario


@dataclass(frozen=True)
class Result:
    """One run of one scenario on one server: a line of the results file."""

    server: str
    scenario: str
    run: int
    figure: float | None
    """In the scenario's unit; None when the run failed."""
    problem: str = ""
    """Why the figure is missing or must not be trusted."""
    load: dict[str, Any] | None = None
    """All that the load generator reported."""


@dataclass(frozen=True)
class Cell:
    """What the table says about one scenario on one server."""

    median: float | None
    low: float
    high: float
    runs: int
    """Runs that yielded a figure."""
    failed: int

    def __str__(self) -> str:
        if self.median is None:
            return "failed"
        text = number(self.median)
        if number(self.low) != number(self.high):
            text += f" ({number(self.low)}-{number(self.high)})"
        return f"{text}, {self.failed} failed" if self.failed else text


def summarise(results: Iterable[Result]) -> dict[tuple[str, str], Cell]:
    """The cell of each (scenario, server) that was run; a run with a problem counts as failed, not as a figure."""
    figures: dict[tuple[str, str], list[float | None]] = {}
    for result in results:
        trusted = None if result.problem else result.figure
        figures.setdefault((result.scenario, result.server), []).append(trusted)
    cells = {}
    for key, values in figures.items():
        good = [value for value in values if value is not None]
        failed = len(values) - len(good)
        if good:
            cells[key] = Cell(statistics.median(good), min(good), max(good), len(good), failed)
        else:
            cells[key] = Cell(None, 0, 0, 0, failed)
    return cells


def number(value: float) -> str:
    """Three digits that count: 57.8, 1.93, 1360."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Iterable[Result], scenarios: Sequence[Scenario], servers: Sequence[str], judged: str) -> str:
    """Markdown, a row per scenario, a column per server; a figure of `judged` above its limit is marked."""
    cells = summarise(results)
    rows = [["", "unit", *servers, f"budget of {judged}"]]
    over = False
    for scenario in scenarios:
        row = [scenario.title, scenario.unit]
        for server in servers:
            cell = cells.get((scenario.name, server))
            text = "" if cell is None else str(cell)
            limit = scenario.budget.limit
            if server == judged and cell and cell.median is not None and limit is not None and cell.median > limit:
                text += " !"
                over = True
            row.append(text)
        rows.append([*row, str(scenario.budget)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    if over:
        lines += ["", "! over budget"]
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"


def read_results(path: Path) -> tuple[list[dict[str, Any]], list[Result]]:
    """The conditions and the results of a file: several files joined into one are as good as one.

    Raises:
        ValueError, TypeError: when a line is neither.
    """
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    conditions = [row for row in rows if "began" in row]
    return conditions, [Result(**row) for row in rows if "began" not in row]

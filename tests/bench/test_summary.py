"""The summary of the benchmark: medians, spreads, failed runs, the table."""

import dataclasses
import json
from pathlib import Path

from twisted.trial.unittest import TestCase

from bench.scenario import QUICK, SCENARIOS, Budget, Scenario
from bench.summary import Cell, Result, number, read_results, summarise, table

CHAT = Scenario("chat", "chat", "us", "chat", "cpu", Budget(limit=40, goal=25))
REST = Scenario("rest", "at rest", "MiB", "stat", "pss", Budget(limit=60), scale=1 / 1024)


def runs(server: str, scenario: str, *figures: float) -> list[Result]:
    """Good runs with these figures."""
    return [Result(server, scenario, run, figure) for run, figure in enumerate(figures, 1)]


class SummaryTests(TestCase):
    """From results to cells."""

    def test_median_of_odd_and_even(self) -> None:
        """The middle one, or the mean of the two in the middle, whatever the order they came in."""
        cells = summarise(runs("a", "chat", 9, 1, 2) + runs("b", "chat", 4, 1, 2, 90))
        self.assertEqual(cells["chat", "a"], Cell(2, 1, 9, 3, 0))
        self.assertEqual(cells["chat", "b"], Cell(3, 1, 90, 4, 0))

    def test_scenarios_and_servers_are_kept_apart(self) -> None:
        """A figure counts for its own scenario and its own server only."""
        cells = summarise(runs("a", "chat", 1) + runs("a", "rest", 2) + runs("b", "chat", 3))
        self.assertEqual(
            {key: cell.median for key, cell in cells.items()},
            {("chat", "a"): 1, ("rest", "a"): 2, ("chat", "b"): 3},
        )

    def test_a_run_with_a_problem_is_no_figure(self) -> None:
        """A run that lost messages does not improve the median, and is counted as failed."""
        good, bad = runs("a", "chat", 50, 1)
        cells = summarise([good, dataclasses.replace(bad, problem="3 lost"), Result("a", "chat", 3, None, "died")])
        self.assertEqual(cells["chat", "a"], Cell(50, 50, 50, 1, 2))
        self.assertEqual(str(cells["chat", "a"]), "50, 2 failed")

    def test_only_failures(self) -> None:
        """A server that never yielded a figure says so instead of showing 0."""
        cells = summarise([Result("a", "chat", 1, None, "died")])
        self.assertEqual(str(cells["chat", "a"]), "failed")

    def test_numbers_have_three_digits(self) -> None:
        """Digits beyond the third are noise."""
        self.assertEqual(
            [number(value) for value in (1360.4, 57.84, 1.934, 0.0912, 40)], ["1360", "57.8", "1.93", "0.0912", "40"]
        )

    def test_spread_is_shown_only_when_there_is_one(self) -> None:
        """One run, or equal ones, need no range."""
        cells = summarise(runs("a", "chat", 2, 2) + runs("b", "chat", 2, 3, 4))
        self.assertEqual([str(cells["chat", name]) for name in "ab"], ["2", "3 (2-4)"])


class TableTests(TestCase):
    """From results to text."""

    def test_table(self) -> None:
        """A column per server, an empty cell for what was not run, the budget last, a mark on what exceeds it."""
        results = runs("ours", "chat", 41) + runs("theirs", "chat", 99) + runs("theirs", "rest", 12)
        self.assertEqual(
            table(results, [CHAT, REST], ["ours", "theirs"], "ours").splitlines(),
            [
                "|         | unit | ours | theirs | budget of ours      |",
                "|---------|------|------|--------|---------------------|",
                "| chat    | us   | 41 ! | 99     | at most 40, goal 25 |",
                "| at rest | MiB  |      | 12     | at most 60          |",
                "",
                "! over budget",
            ],
        )

    def test_within_budget(self) -> None:
        """The limit itself is within budget: no mark, no note."""
        self.assertNotIn("!", table(runs("ours", "chat", 40), [CHAT], ["ours"], "ours"))

    def test_results_survive_the_file(self) -> None:
        """What a run writes is what `--table` reads, and conditions are told from results."""
        results = [Result("a", "chat", 1, 2.5, "", {"lost": 0}), Result("a", "chat", 2, None, "died")]
        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            print(json.dumps({"began": "now"}), file=file)
            for result in results:
                print(json.dumps(dataclasses.asdict(result)), file=file)
        self.assertEqual(read_results(Path(path)), ([{"began": "now"}], results))


class ScenarioTests(TestCase):
    """The rows."""

    def test_figure_is_scaled_to_the_unit(self) -> None:
        """KiB become MiB; a result without the field yields nothing."""
        self.assertEqual(REST.figure_of({"pss": 2048}), 2.0)
        self.assertIsNone(REST.figure_of({}))

    def test_every_load_can_be_written_out(self) -> None:
        """No scenario leaves a brace unfilled or names a field that Size lacks."""
        for scenario in SCENARIOS:
            self.assertNotIn("{", " ".join(scenario.arguments(QUICK)), scenario.name)

    def test_names_are_unique(self) -> None:
        """Results are kept by the scenario's name."""
        names = [scenario.name for scenario in SCENARIOS]
        self.assertEqual(len(names), len(set(names)))

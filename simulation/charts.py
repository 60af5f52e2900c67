"""Draws the charts of a fleet: two days of Byline, the drain after the outage, and all rules."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from byline.refresh.timing import DAY_SECONDS, MARGIN_SECONDS
from plan_refresh.planning import WRITES_PER_SECOND
from simulation.outcome import Outcome
from simulation.scenario import HOUR
from simulation.secret_versions import WRITES_A_SECOND

OURS, OTHER, LIMIT, FAULT = "#1b6ca8", "#b0b0b0", "#c0392b", "#f3d9b1"


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the outcomes of a fleet, of which the first is Byline's, into a PNG file."""
    ours = outcomes[0]
    figure, axes = plt.subplots(2, 2, figsize=(13, 8), layout="constrained")
    figure.suptitle(ours.scenario.title)
    _lives(axes[0, 0], ours)
    _writes(axes[0, 1], ours)
    _drain(axes[1, 0], ours)
    _expired(axes[1, 1], outcomes)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _lives(axes: Axes, ours: Outcome) -> None:
    lives = np.where(np.isfinite(ours.lives), ours.lives, np.nan)
    axes.plot(_hours(ours), lives, ".", markersize=2, color=OURS)
    axes.axhline(MARGIN_SECONDS, color=OTHER, linewidth=1)
    axes.annotate("margin", (0, MARGIN_SECONDS), color="grey", va="bottom")
    axes.axhline(0, color=LIMIT, linewidth=1)
    axes.set_ylim(max(-600.0, float(np.nanmin(lives)) - 50), MARGIN_SECONDS * 1.5)
    _faults(axes, ours, "Byline: least life left when a token was replaced, by minute", "seconds")


def _writes(axes: Axes, ours: Outcome) -> None:
    axes.plot(_hours(ours), ours.writes_by_minute, linewidth=0.7, color=OURS)
    for limit, words in (
        (WRITES_PER_SECOND, "limit of all workers"),
        (WRITES_A_SECOND, "quota of the account"),
    ):
        axes.axhline(limit, color=LIMIT, linewidth=1)
        axes.annotate(words, (0, limit), color=LIMIT, va="bottom")
    axes.set_ylim(0, WRITES_A_SECOND * 1.15)
    _faults(axes, ours, "Byline: writes to Secrets Manager, mean of each minute", "a second")


def _drain(axes: Axes, ours: Outcome) -> None:
    drain = ours.drain
    left = np.array(drain.left, dtype=float).reshape(-1, 2)
    axes.step(left[:, 0] / 60, left[:, 1], where="post", color=OURS, label="left to refresh")
    axes.plot(
        [0, drain.planned_seconds / 60],
        [drain.backlog, 0],
        "--",
        color=LIMIT,
        label=f"at {WRITES_PER_SECOND} writes a second",
    )
    axes.set_xlabel("minutes after the outage")
    axes.set_ylabel("runners")
    again = axes.twinx()
    again.hist(np.array(drain.due_again) / 60, bins=120, color=OURS, alpha=0.35)
    again.set_ylabel("due again (shaded)")
    axes.set_title("Byline: the backlog after the outage, and when it falls due again")
    axes.legend(loc="upper right")


def _expired(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    names = [outcome.rule for outcome in outcomes]
    counts = [outcome.expired.unexplained for outcome in outcomes]
    bars = axes.barh(
        names, [max(count, 0.5) for count in counts], color=[OURS] + [OTHER] * len(outcomes)
    )
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xscale("log")
    axes.set_xlim(0.5, max(10, *counts) * 8)
    axes.invert_yaxis()
    axes.set_title("Tokens that expired in use, unexplained")


def _hours(outcome: Outcome) -> np.ndarray:
    return np.arange(len(outcome.lives)) * 60 / HOUR


def _faults(axes: Axes, outcome: Outcome, title: str, unit: str) -> None:
    scenario = outcome.scenario
    for span in (scenario.outage, scenario.wrong_secret):
        axes.axvspan(span.start / HOUR, span.end / HOUR, color=FAULT, zorder=0)
    axes.axvline(scenario.deploy / HOUR, color=FAULT, linewidth=3, zorder=0)
    axes.set_xlim(0, scenario.seconds / HOUR)
    axes.set_xticks(np.arange(0, scenario.seconds / HOUR + 1, DAY_SECONDS / HOUR / 4))
    axes.set_xlabel("hours (shaded: outage, deploy, one project's wrong secret)")
    axes.set_ylabel(unit)
    axes.set_title(title)

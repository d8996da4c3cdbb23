"""The report of an ablation as a page."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, Any]


def number(value: float) -> float | None:
    """Return a figure as JSON has it; None where a sensitivity was not reached."""
    return round(value, 3) if math.isfinite(value) else None


def verdict(mean: float | None, highest: Sequence[float | None]) -> str:
    """Return what a difference shows: its mean over the seeds, and the upper end of each seed's 80 % interval."""
    if mean is None:
        return "0.90 is not reached by one of them"
    if mean >= 0:
        return "NOT fewer"
    return "fewer" if all(high is not None and high < 0 for high in highest) else "fewer, but not beyond chance"


def told(record: Row) -> str:
    """Return the report of an ablation as a page."""
    parts = (_arms, _compared, _filter, _distorted, _magnitude)
    return "\n".join(line for part in parts for line in part(record)) + "\n"


def _arms(record: Row) -> Iterator[str]:
    yield f"# Microbleeds on preset `{record['preset']}`: {record['steps']} steps, {record['heads']} test heads"
    yield ""
    schedule = record["schedule"]
    yield (
        f"Trained on {schedule['heads']} heads in {schedule['steps']} steps of {schedule['batch']} crops of "
        f"{schedule['crop_voxels']} voxels, by {'; '.join(record['machine'])}."
    )
    yield ""
    yield "False findings a head at 0.90 sensitivity and at the threshold of validation (95 % by bootstrap over heads):"
    yield ""
    yield "| arm | seed | false at 0.90 | threshold | sensitivity | false | by kind |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in record["rows"]:
        test = row["test"]
        yield (
            f"| {row['arm']} | {row['seed']} | {_interval(test['false_at_90'])} | {row['threshold']:.2f} "
            f"| {_interval(test['sensitivity'])} | {_interval(test['false'])} | {_kinds(test)} |"
        )

    yield ""
    yield "| arm | false at 0.90, mean of the seeds | the seeds' readings together |"
    yield "| --- | --- | --- |"
    for row in record["pooled"]:
        yield f"| {row['arm']} | {_number(row['mean'])} | {_number(row['false_at_90'])} |"


def _compared(record: Row) -> Iterator[str]:
    yield ""
    yield "## Arms against each other"
    yield ""
    yield "Differences of false findings at 0.90 sensitivity, mean over the seeds; 80 % by paired bootstrap over heads:"
    yield ""
    for step in record["compared"]:
        spans = ", ".join(f"{_number(low)} to {_number(high)}" for low, high in step["intervals"])
        shown = verdict(step["mean"], [high for _, high in step["intervals"]])
        yield (
            f"- {step['later']} against {step['earlier']}: {_number(step['mean'])} "
            f"(each seed {', '.join(_number(each) for each in step['each'])}; 80 % {spans}): {shown}"
        )


def _filter(record: Row) -> Iterator[str]:
    yield ""
    yield "## After the anatomical filter"
    yield ""
    network = record["filter"]
    yield f"With one region network for all, seed {network['seed']}, `{network['regions_sha256'][:12]}`:"
    yield ""
    yield "| arm | seed | false at 0.90 | sensitivity | false | fewer | region right | Dice |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for before, after in zip(record["rows"], record["filter"]["rows"], strict=True):
        test, regions = after["test"], after["regions"]
        had, has = before["test"]["false"]["value"], test["false"]["value"]
        overlaps = ", ".join(f"{name} {value:.3f}" for name, value in regions["dice"].items())
        yield (
            f"| {after['arm']} | {after['seed']} | {_interval(test['false_at_90'])} | {_interval(test['sensitivity'])} "
            f"| {_interval(test['false'])} | {100 * (had - has) / had if had else 0:.0f} % "
            f"| {regions['accuracy']:.3f} of {regions['found']} | {overlaps} |"
        )

    yield ""
    yield "The seeds' readings together, false at 0.90 before and after, which is at the same sensitivity:"
    yield ""
    for before, after in zip(record["pooled"], network["pooled"], strict=True):
        yield f"- {after['arm']}: {_number(before['false_at_90'])} and {_number(after['false_at_90'])}"


def _magnitude(record: Row) -> Iterator[str]:
    yield ""
    yield "## Weights that were trained without phase, on heads without phase"
    yield ""
    yield "| arm | seed | false at 0.90 | by kind there | with phase, by kind there |"
    yield "| --- | --- | --- | --- | --- |"
    usual = {(row["arm"], row["seed"]): row["test"] for row in record["rows"]}
    for row in record["magnitude"]:
        test = row["test"]
        yield (
            f"| {row['arm']} | {row['seed']} | {_interval(test['false_at_90'])} | {_kinds(test, '_at_90')} "
            f"| {_kinds(usual[row['arm'], row['seed']], '_at_90')} |"
        )


def _distorted(record: Row) -> Iterator[str]:
    yield ""
    yield "## Without phase, and with slices in no order (same weights, same threshold)"
    yield ""
    yield "| arm | seed | how | sensitivity | false | by kind |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in record["distorted"]:
        test = row["test"]
        yield (
            f"| {row['arm']} | {row['seed']} | {row['how']} | {_interval(test['sensitivity'])} "
            f"| {_interval(test['false'])} | {_kinds(test)} |"
        )


def _kinds(test: Row, where: str = "") -> str:
    return ", ".join(f"{kind} {count:.2f}" for kind, count in test[f"false_by_kind{where}"].items())


def _interval(record: Row) -> str:
    return f"{_number(record['value'])} ({_number(record['low'])} to {_number(record['high'])})"


def _number(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f}"

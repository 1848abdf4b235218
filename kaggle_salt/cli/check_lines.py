"""A check report as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kaggle_salt.competition.check import CheckReport, Finding

BAR_LENGTH = 40


def check_lines(report: CheckReport) -> list[str]:
    """What was found, then what is wrong, as lines of text."""
    height, width = report.tile_shape
    colours = "red, green and blue" if report.is_coloured else "grey"
    return [
        f"{report.train_tiles} training tiles, {report.test_tiles} test tiles of "
        f"{height}x{width}, {colours}",
        *(f"note: {note}" for note in report.notes),
        f"files: {_modes(report)}",
        *_masks(report),
        f"{report.empty_masks} masks are empty; {len(report.blank_tiles)} training and "
        f"{len(report.blank_test_tiles)} test tiles are blank (one value)",
        f"{len(report.duplicates)} groups of identical training tiles, "
        f"{len(report.train_test_duplicates)} of training and test tiles (blank ones left out)",
        f"{len(report.unknown_depths)} tiles without a depth",
        *_histogram(report.coverage_histogram),
        *_findings("warnings", report.warnings),
        *_findings("faults", report.faults),
        *([] if report.faults or report.warnings else ["nothing is wrong"]),
    ]


def _modes(report: CheckReport) -> str:
    return "; ".join(
        f"{kind} " + ", ".join(f"{count} {mode}" for mode, count in counts.items())
        for kind, counts in report.modes.items()
        if counts
    )


def _masks(report: CheckReport) -> Iterator[str]:
    if report.mask_threshold is not None:
        yield f"masks are salt from level {report.mask_threshold} on"
        return
    levels = [f"{level} in {count}" for level, count in report.mask_levels.items() if level != "0"]
    if levels:
        yield f"level of salt in a mask's file: {', '.join(levels)}"


def _histogram(counts: Sequence[int]) -> Iterator[str]:
    yield "salt coverage:"
    longest = max(*counts, 1)
    spans = ["empty", *(f"{10 * number}-{10 * number + 10} %" for number in range(len(counts) - 1))]
    for span, count in zip(spans, counts, strict=True):
        bar = "█" * round(BAR_LENGTH * count / longest)
        yield f"  {span:>9} {count:>6} {bar}".rstrip()


def _findings(title: str, findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        yield f"{title}:"
    for finding in findings:
        yield f"  {finding.title}: {finding.count}"
        yield from (f"    {line}" for example in finding.examples for line in example.split("\n"))
        if finding.count > len(finding.examples) > 1:
            yield f"    and so on; all {finding.count}: salt check --json"
        yield f"    -> {finding.remedy}"

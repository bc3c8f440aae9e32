"""``sagas doctor``: what is to be said about a Redis and the disk below it, good and bad."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from sagas.cli.show import cell, print_json, print_table, table
from sagas.cli.verdict import FAILED, OK, complain
from sagas.errors import InvalidArgument
from sagas.server import Finding, examine, judge_fsync, measure_fsync, redact, resolve_url

_STYLES = {"refuse": "bold red", "warn": "yellow", "ok": "green"}


def doctor(args: argparse.Namespace) -> int:
    """Print every finding; FAILED when something is to be refused."""
    url = resolve_url(args.url, args.data)
    findings = [*asyncio.run(examine(url)), *_disk(args.data)]
    if args.json:
        for finding in findings:
            print_json(finding)
    else:
        _print_findings(url, findings)
    return FAILED if any(finding.severity == "refuse" for finding in findings) else OK


def _disk(data: Path) -> list[Finding]:
    if not data.is_dir():
        return []
    try:
        return [judge_fsync(measure_fsync(data))]
    except OSError as error:
        raise InvalidArgument(
            f"the disk below {data} cannot be measured: {error}; name a folder with --data"
        ) from error


def _print_findings(url: str, findings: list[Finding]) -> None:
    shown = table("", "what", "how it stands", "what to do", whole=("", "what"))
    for finding in findings:
        style = _STYLES[finding.severity]
        shown.add_row(cell(finding.severity, style), finding.subject, cell(finding.message, limit=400), finding.fix)
    print_table(shown)
    refused = sum(finding.severity == "refuse" for finding in findings)
    if refused:
        complain(f"the Redis at {redact(url)} is not safe for sagas: {refused} finding(s) to mend first")

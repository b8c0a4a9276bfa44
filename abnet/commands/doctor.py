"""`abnet doctor`: what is installed and what will be used."""

from __future__ import annotations

import argparse
import json

HELP = "say what is installed, what will be used, and what is missing"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the findings; the status is 1 if there is a problem."""
    from abnet.doctor import PROBLEM, examine

    findings = examine()
    problems = [finding for finding in findings if finding.status == PROBLEM]
    if args.json:
        listed = [finding._asdict() for finding in findings]
        print(json.dumps({"ok": not problems, "findings": listed}))
    else:
        for finding in findings:
            print(f"{finding.status:<9}{finding.topic:<22}{finding.text}")
            if finding.advice:
                print(f"{'':<9}{'':<22}-> {finding.advice}")
        print(f"{len(problems)} problem(s)" if problems else "All that is needed is there.")
    return 1 if problems else 0

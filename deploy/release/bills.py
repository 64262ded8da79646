#!/usr/bin/env python3
"""Checks the bills of materials in FOLDER (default target/dist): the CycloneDX schema, by its own
library, and that each names all that cargo links into the program."""

import json
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_5)


def linked(program, target):
    """What cargo says is linked: names with versions, procedural macros and build tools aside."""
    command = ["cargo", "tree", "--locked", f"--package={program}", f"--target={target}"]
    command += ["--edges=normal,no-proc-macro", "--prefix=none", "--format={p}"]
    lines = subprocess.check_output(command, text=True).splitlines()
    return {tuple(line.replace(" v", " ", 1).split()[:2]) for line in lines if line}


def problems(path):
    text = path.read_text()
    error = VALIDATOR.validate_str(text)
    if error:
        return [f"{path.name}: {error}"]
    bill = json.loads(text)
    program = bill["metadata"]["component"]["name"]
    target = next(
        one["value"] for one in bill["metadata"]["properties"] if one["name"].endswith("triple")
    )
    named = {(one["name"], one["version"]) for one in bill["components"]}
    missing = linked(program, target) - named - {(program, bill["metadata"]["component"]["version"])}
    found = [f"{path.name}: {' '.join(one)} is linked and not named" for one in sorted(missing)]
    found += [
        f"{path.name}: {one['name']} has no licence" for one in bill["components"] if not one.get("licenses")
    ]
    return found


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "target/dist")
    bills = sorted(folder.glob("*.cdx.json"))
    found = [line for bill in bills for line in problems(bill)]
    total = sum(len(json.loads(bill.read_text())["components"]) for bill in bills)
    if len(bills) < 3:
        found.append(f"{folder}: {len(bills)} bills instead of three")
    # The control.
    damaged = json.loads(bills[0].read_text()) if bills else {}
    damaged["bomFormat"] = "none"
    if not VALIDATOR.validate_str(json.dumps(damaged)):
        found.append("a damaged bill passes")
    for line in found:
        print(line)
    if not found:
        print(
            "evidence: Each program's libraries are listed | deploy/release/bills.py |"
            f" {len(bills)} CycloneDX 1.5 files, {total} components, all that cargo links |"
            " a damaged file is refused"
        )
    return 1 if found else 0


sys.exit(main())

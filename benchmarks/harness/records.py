"""The file of measurements: a line of JSON each, so that a record can be made in pieces, a shape or a rival at a time."""

import json


def append(path, record):
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read(path):
    """``(records, machines, ignored)`` of the last commit in the file: what was measured, a description of the machine for each session, and how
    many records of other commits there are beside.
    """
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if line.strip()]
    machines = [line["machine"] for line in lines if "machine" in line]
    records = [line for line in lines if "peer" in line]
    if not records:
        raise ValueError(f"{path}: expected at least one measurement, got none")
    last = records[-1]["commit"]
    chosen = [record for record in records if record["commit"] == last]
    found = [machine for machine in machines if machine["commit"] == last]
    return chosen, found, len(records) - len(chosen)

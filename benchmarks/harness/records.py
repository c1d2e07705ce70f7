"""File of measurements, one line of JSON each.

Measurements can be appended in several sessions, for example one shape or one rival at a time.
"""

import json


def append(path, record):
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read(path):
    """Return ``(records, machines, ignored)`` of the last commit in the file.

    ``records`` are the measurements, ``machines`` describe the machine of each session, and
    ``ignored`` counts the records of other commits.
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

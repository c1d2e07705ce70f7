"""Put small faults into the kernels, one at a time, and see which the tests notice.

    python -m tests.mutation --seed 0 --count 40

A scratch copy of the repository is built with one instruction set. Each mutant changes one place of
one file of src/kernels; files are drawn in turn, so that short ones count as much as long ones. A
mutant that does not compile, or compiles to the same objects, is drawn again. The default tier of
the tests runs until it fails; where it passes, the rest of the whole tier runs. A crash, and a test
that does not end, count as noticed. docs/develop/mutation.md has the results.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from .candidates import candidates
from .report import describe, heading, noticed, table
from .scratch import ROOT, BuildError, scratches
from .trial import Tests

DRAWS_IN_A_FILE = 8


def parse_arguments():
    parser = argparse.ArgumentParser(
        "python -m tests.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seed", type=int, default=0)
    add("--count", type=int, default=40, help="how many mutants")
    add("--only", default="", help="numbers of mutants, as 3,7,12: these of the draw alone")
    add("--jobs", type=int, default=1, help="mutants at a time, each in its own copy")
    add(
        "--build",
        default="AEFAST_WITHOUT=avx2 avx512",
        help="a variable that asks for one instance",
    )
    add("--isa", default="baseline", help="the instance that is built")
    add("--compiler", default="gcc", help='"ccache gcc" saves the second run time')
    add(
        "--flags",
        default="-g0",
        help="flags at the end of each command; -O1 compiles in half the time",
    )
    add(
        "--closest-only",
        action="store_true",
        help="run the tests of the mutated family alone; "
        "to be resumed without this, for what survives",
    )
    add(
        "--whole",
        default="-m extra",
        help='what chooses the tests beyond the default tier; "": none',
    )
    add("--test-limit", type=int, default=300, help="seconds for one test")
    add("--run-limit", type=int, default=7200, help="seconds for the tests of one mutant")
    add("--log", type=Path, default=Path("mutation.jsonl"))
    add("--resume", action="store_true", help="go on with the log; else it is begun anew")
    add("--list", action="store_true", help="print the first mutant of each draw; build nothing")
    return parser.parse_args()


def kernel_files():
    """Return the files that have a place for a mutant, with their mutants by kind."""
    files = {}
    for path in sorted((ROOT / "src" / "kernels").rglob("*.[ch]")):
        if by_kind := candidates(path.read_text()):
            files[str(path.relative_to(ROOT))] = by_kind
    return files


def draws(seed, number, files):
    """Yield (file, mutant) until one is taken, first of the file whose turn it is."""
    names = sorted(files)
    turn, place = divmod(number, len(names))
    random.Random(f"{seed} turn {turn}").shuffle(names)
    generator, name = random.Random(f"{seed} number {number}"), names[place]
    while True:
        for _ in range(DRAWS_IN_A_FILE):
            kind = generator.choice(sorted(files[name]))
            yield name, generator.choice(files[name][kind])
        name = generator.choice(names)


class Session:
    """A run of the script: its scratch copies, its log, the outcomes of both tiers."""

    def __init__(self, options):
        self.options = options
        variable, _, value = options.build.partition("=")
        self.environment = {**os.environ, variable: value}
        self.tests = Tests(
            {**self.environment, "AEFAST_ISA": options.isa}, options.test_limit, options.run_limit
        )
        self.files = kernel_files()
        self.lock = threading.Lock()
        self.records = {}

    def read_log(self):
        """Take from the log what it has of these mutants."""
        if not self.options.resume or not self.options.log.exists():
            self.options.log.write_text("")
            return
        for record in map(json.loads, self.options.log.read_text().splitlines()):
            if record["seed"] == self.options.seed and self.is_current(record):
                self.records[record["number"]] = record

    def is_current(self, record):
        """Say whether the draw still meets this mutant."""
        found = draws(self.options.seed, record["number"], self.files)
        for _ in range(record["skipped"]):
            next(found)
        name, mutant = next(found)
        described = describe(name, (ROOT / name).read_text(), mutant)
        return described.items() <= record.items()

    def is_done(self, number):
        record = self.records.get(number)
        return record and (
            not record["closest_only"] or self.options.closest_only or noticed(record)
        )

    def write(self, record):
        with self.lock, self.options.log.open("a") as log:
            log.write(json.dumps(record) + "\n")

    def judge(self, scratch, number):
        """Build the mutant of this number and run the tests; return the record."""
        skipped, begin = 0, time.monotonic()
        for name, mutant in draws(self.options.seed, number, self.files):
            text = (ROOT / name).read_text()
            try:
                mutated = text[: mutant.start] + mutant.replacement + text[mutant.end :]
                if scratch.build(name, mutated):
                    break
            except BuildError:
                pass
            scratch.restore()
            skipped += 1
        record = {
            "seed": self.options.seed,
            "number": number,
            **describe(name, text, mutant),
            "skipped": skipped,
            "build_seconds": round(time.monotonic() - begin, 1),
            "closest_only": self.options.closest_only,
        }
        try:
            record |= self.tiers(scratch.tree, Path(name).parts[2])
        finally:
            scratch.restore()
        return record

    def tiers(self, tree, folder):
        default = self.tests.run(tree, folder, closest_only=self.options.closest_only)
        whole = None
        if not (default.noticed or self.options.closest_only) and self.options.whole:
            whole = self.tests.run(tree, folder, self.options.whole.split())._asdict()
        return {"default": default._asdict(), "whole": whole}

    def run(self, numbers):
        numbers = [number for number in numbers if not self.is_done(number)]
        how = self.environment, self.options.compiler, self.options.flags
        with tempfile.TemporaryDirectory(prefix="aefast-mutation-") as folder:
            first, *others = scratches(folder, self.options.jobs + 1, *how)
            self.tests.true, free = first.tree, Queue()
            for scratch in others:
                free.put(scratch)

            def one(number):
                scratch = free.get()
                record = self.judge(scratch, number)
                free.put(scratch)
                self.records[number] = record
                self.write(record)
                print(line_of(record), flush=True)

            with ThreadPoolExecutor(self.options.jobs) as pool:
                list(pool.map(one, numbers))
            if self.tests.deselected:
                print("left out, as they fail without a mutant:", *self.tests.deselected)


def line_of(record):
    outcome = record["whole"] if record["whole"] else record["default"]
    said = f"{outcome['how']} in {outcome['by']}" if outcome["noticed"] else "SURVIVED"
    tier = "whole: " if record["whole"] else ""
    return f"{heading(record)} {tier}{said}\n{record['change']}"


def main():
    options = parse_arguments()
    numbers = [int(n) for n in options.only.split(",") if n] or list(range(options.count))
    session = Session(options)
    if options.list:
        for number in numbers:
            name, mutant = next(draws(options.seed, number, session.files))
            found = describe(name, (ROOT / name).read_text(), mutant)
            print(f"{number:3d} {found['place']} [{mutant.kind}]\n{found['change']}")
        return
    session.read_log()
    session.run(numbers)
    print(table([session.records[n] for n in numbers if n in session.records]))


if __name__ == "__main__":
    sys.exit(main())

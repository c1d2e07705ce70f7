"""Copies of the repository with one instance built; a mutant is built into one of them.

How a kernel is compiled is learned from the build itself: it runs with a compiler that writes each
of its command lines down. A mutant repeats the lines that read the mutated file.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNCOPIED = shutil.ignore_patterns(
    *(".git", ".venv*", "build", "dist", "*.so", "*.egg-info", "__pycache__", ".hypothesis")
)
COMPILER = """#!/bin/sh
commands=$(mktemp {folder}/command.XXXXXXXX)
printf '%s\\n' "$@" > "$commands"
exec {compiler} "$@" {flags}
"""
COMPILE_LIMIT = 900


class BuildError(Exception):
    """A mutant that is no C, or that cannot be linked."""


def copy_and_build(folder, environment, compiler, flags):
    """Copy the repository into `folder` and build it; return the compiler's command lines."""
    shutil.copytree(ROOT, folder / "tree", ignore=UNCOPIED)
    written = folder / "commands"
    written.mkdir()
    wrapper = folder / "compiler"
    wrapper.write_text(COMPILER.format(folder=written, compiler=compiler, flags=flags))
    wrapper.chmod(0o755)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder / "tree",
        env={**environment, "CC": str(wrapper)},
        check=True,
    )
    return [path.read_text().splitlines() for path in sorted(written.iterdir())]


def _output(command):
    return command[command.index("-o") + 1]


class Scratch:
    """A built copy; `build` compiles what a changed source needs, `restore` puts all back."""

    def __init__(self, tree, commands, compiler, flags):
        self.tree, self.compiler, self.flags = tree, compiler.split(), flags.split()
        self.compiles = [c for c in commands if any(_is_kernel(word) for word in c) and "-c" in c]
        objects = {_output(c) for c in self.compiles}
        self.links = [c for c in commands if "-shared" in c and objects & set(c)]
        self.reads = [self._files_read(c) for c in self.compiles]
        self.changed = {}

    def _files_read(self, command):
        rest = command.copy()
        for option in ("-o", "-MF", "-MT", "-MQ"):  # with the name that follows
            while option in rest:
                at = rest.index(option)
                del rest[at : at + 2]
        rest = [word for word in rest if not word.startswith("-M")]
        listed = self._run([*rest, "-MM", "-MT", "x"], capture_output=True, text=True).stdout
        return {os.path.normpath(name) for name in listed.replace("\\\n", " ").split()[1:]}

    def _run(self, command, **options):
        done = subprocess.run(
            [*self.compiler, *command, *self.flags], cwd=self.tree, timeout=COMPILE_LIMIT, **options
        )
        if done.returncode != 0:
            raise BuildError(done.stderr)
        return done

    def build(self, name, text):
        """Build with source `name` changed to `text`; return whether any object became another."""
        self._keep(self.tree / name)
        (self.tree / name).write_text(text)
        with ThreadPoolExecutor() as pool:
            commands = [
                c for c, files in zip(self.compiles, self.reads, strict=True) if name in files
            ]
            changed = [o for o in pool.map(self._compile, commands) if o]
        for link in self.links:
            if set(changed) & set(link):
                self._link(link)
        return bool(changed)

    def _link(self, command):
        """Link an extension; the build links it beside the package and copies it there."""
        output = self.tree / _output(command)
        (target,) = (self.tree / "aefast").rglob(output.name)
        self._keep(target)
        self._run(command, stderr=subprocess.PIPE, text=True)
        target.unlink()  # a new file: a process may still have the old one mapped
        shutil.copy(output, target)
        if target.read_bytes() == self.changed[target]:
            raise SystemExit(f"{target} does not contain the mutant")

    def _compile(self, command):
        """Compile; return the object's name if its bytes changed."""
        path = self.tree / _output(command)
        before = path.read_bytes()
        self._keep(path)
        self._run(command, stderr=subprocess.PIPE, text=True)
        return _output(command) if path.read_bytes() != before else None

    def _keep(self, path):
        self.changed.setdefault(path, path.read_bytes())

    def restore(self):
        for path, content in self.changed.items():
            path.unlink()
            path.write_bytes(content)
        self.changed.clear()


def _is_kernel(word):
    return "src/kernels/" in word and word.endswith(".c")


def scratches(folder, n, environment, compiler, flags):
    """Build one copy in `folder` and copy it n - 1 times."""
    first = Path(tempfile.mkdtemp(dir=folder))
    commands = copy_and_build(first, environment, compiler, flags)
    trees = [first / "tree"]
    for i in range(1, n):
        trees.append(first / f"tree{i}")
        shutil.copytree(trees[0], trees[i])
    if any(str(trees[0]) in word for command in commands for word in command):
        raise SystemExit(
            "the build names absolute paths: its commands cannot be repeated in copies"
        )
    return [Scratch(tree, commands, compiler, flags) for tree in trees]

"""The series of patches that add the switches, and the copy of the crate that they are applied to."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
FOLDER = TARGET / "mutants"
PATCHES = Path(__file__).resolve().parent
# Each a folder of patches, in the order in which they are applied.
GROUPS = ("one_node", "several_nodes")
COPIED = ("Cargo.toml", "Cargo.lock", "README.md", "LICENSE", "src", "tests", "benches", "examples")


class DoesNotApply(Exception):
    pass


class Patch:
    """`one_node/0010-FloorIgnored.patch`: what is missing, and then the difference."""

    def __init__(self, file):
        self.file = file
        self.group = file.parent.name
        self.name = re.fullmatch(r"\d+-(\w+)\.patch", file.name)[1]

    def apply(self, tree, *options):
        """Applies it if all of it finds its place; lines may have moved, but not changed."""
        applied = git(tree, "apply", *options, self.file, check=False)
        if applied.returncode:
            raise DoesNotApply(
                f"{self.file.relative_to(ROOT)} does not apply:\n{applied.stderr}"
                "tests/mutants/record brings it up to date"
            )

    def about(self):
        """Returns the lines before the difference."""
        return self.file.read_text().split("\n--- ")[0] if self.file.exists() else ""


def series():
    return [Patch(file) for group in GROUPS for file in sorted((PATCHES / group).glob("*.patch"))]


def git(tree, *arguments, check=True):
    # Whatever repository is around the tree is none of its business.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    environment = {name: value for name, value in environment.items() if name != "GIT_DIR"}
    done = subprocess.run(
        ["git", "-c", "core.autocrlf=false", *map(str, arguments)],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    if check and done.returncode:
        sys.exit(f"git {arguments[0]}: {done.stderr}")
    return done


def copy_to(tree):
    """Makes a copy of the crate in which there are switches, and none is used yet."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=what_was_built)
        else:
            shutil.copy2(source, tree / name)
    shutil.copy2(PATCHES / "switches.rs", tree / "src/mutant.rs")
    with open(tree / "src/lib.rs", "a") as library:
        library.write("\nmod mutant;\n")


def what_was_built(folder, names):
    # Fuzzers that run write into their folders meanwhile.
    built = {"corpus", "findings"} if Path(folder).name == "fuzz" else set()
    return [n for n in names if n in built or Path(folder, n, "CACHEDIR.TAG").exists()]


def bring_up_to_date(tree, wanted):
    """Makes a tree the same as another, and leaves alone what is the same: cargo looks at times."""
    names = {file.relative_to(wanted) for file in wanted.rglob("*") if file.is_file()}
    for name in names:
        old, new = tree / name, wanted / name
        if not old.exists() or old.read_bytes() != new.read_bytes():
            old.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(new, old)
    for file in [file for file in tree.rglob("*") if file.is_file()]:
        if file.relative_to(tree) not in names:
            file.unlink()

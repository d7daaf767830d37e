"""Packs the Lambda functions, lambda_handler.py and alarm.py, as one zip.

The same files give the same bytes, by whichever machine's clock and umask.

    pip install --target build --platform manylinux2014_x86_64 --only-binary=:all: --python-version 3.12 \\
        -r <(python -m harness.aws.package --requirements)
    python -m harness.aws.package --site build function.zip

Without ``--site`` the zip holds ``requirements.txt`` alone of what the function needs, which `sam build` reads.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final

from harness.errors import InputError

# what the handlers, the fixers that they know, and the search import; boto3 is there on Lambda
NEEDED: Final = ("pydantic", "jinja2", "httpx2", "google-genai", "libcst", "bm25s", "numpy", "pyyaml", "redact-secret")
OPTIONAL: Final = ("openai", "slack-sdk", "pagerduty")
MAX_UNPACKED_BYTES: Final = 262_144_000  # Lambda's limit of a function with its layers

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell
_LEFT_OUT: Final = frozenset({"__pycache__", ".DS_Store"})


def requirements() -> tuple[str, ...]:
    """What to install for the function, each at the version that is installed here, sorted."""
    lines = [f"{name}=={installed(name)}" for name in NEEDED]
    for name in OPTIONAL:
        try:
            lines.append(f"{name}=={installed(name)}")
        except PackageNotFoundError:
            continue
    return tuple(sorted(lines))


def pack(to: Path, *, site: Path | None = None) -> Path:
    """Write the zip: the harness, its knowledge base, ``requirements.txt``, and all of ``site``, where pip has
    installed those.

    InputError where ``site`` is no folder or has a ``harness`` of its own, or where Lambda would refuse the size.
    """
    entries = {f"{_PACKAGE.name}/{name}": file for name, file in _files(_PACKAGE)}
    entries |= {f"kb/{file.name}": file for file in sorted((_PACKAGE.parent / "kb").glob("*.md"))}
    if site is not None:
        if not site.is_dir():
            raise InputError(f"{site} is no folder", cure="pip install --target it first, see the module's help")
        theirs = dict(_files(site))
        if clash := sorted(theirs.keys() & entries.keys()):
            raise InputError(f"{site} holds {clash[0]}", cure="install the requirements alone there")
        entries |= theirs
    unpacked = sum(file.stat().st_size for file in entries.values())
    if unpacked > MAX_UNPACKED_BYTES:
        cure = f"Lambda takes {MAX_UNPACKED_BYTES}: install less, or use a container image"
        raise InputError(f"the function would have {unpacked} bytes", cure=cure)
    with zipfile.ZipFile(to, "w") as archive:
        _add(archive, "requirements.txt", "".join(f"{line}\n" for line in requirements()).encode())
        for name in sorted(entries):
            _add(archive, name, entries[name].read_bytes())
    return to


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not _LEFT_OUT & set(name.parts) and file.suffix != ".pyc":
            yield name.as_posix(), file


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.create_system = 3  # Unix, whose modes the next line gives: Lambda's user is another one
    entry.external_attr = 0o100644 << 16
    archive.writestr(entry, data, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.aws.package", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("zip", type=Path, nargs="?", help="the file to write")
    parser.add_argument("--site", type=Path, help="a folder where pip has installed the requirements")
    parser.add_argument("--requirements", action="store_true", help="print what the function needs")
    options = parser.parse_args(arguments)
    if options.requirements == (options.zip is not None):
        parser.error("give either a file to write or --requirements")
    if options.requirements:
        print(*requirements(), sep="\n")
        return 0
    try:
        print(pack(options.zip, site=options.site))
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return InputError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

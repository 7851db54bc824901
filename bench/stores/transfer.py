"""The program that copies to and from an object store: `python -m bench.stores.transfer`, then `put FROM TO`, `get FROM
TO [MOST_BYTES]`, `check ADDRESS` (nothing may exist there) or `endpoint ADDRESS` (the URL that requests go to).

Credentials come from the usual places of the store's own client (AWS_ACCESS_KEY_ID, ~/.aws/credentials, a role ...).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bench.errors import Exit, UsageError

_PACKAGES = {
    "s3": "'trueload[remote]'", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
}  # fmt: skip
"""The supported schemes of object stores, and the pip package for each."""
SCHEMES = tuple(_PACKAGES)


def is_address(text: str) -> bool:
    """Whether a word is an address in an object store, such as s3://bucket/key."""
    scheme, colon, _ = text.partition("://")
    return bool(colon) and scheme in SCHEMES


def checked(address: str) -> str:
    """The address without a trailing slash. Raises UsageError if it is invalid, or contains a password."""
    place = address.partition("://")[2]
    # A password may contain a slash. A bucket has a colon only in the name of an access point, `arn:aws:s3:...`.
    user, _, password = place.partition(":")
    if "/" not in user and user != "arn" and "@" in password:
        raise UsageError("the address of an object store has no user and password: the environment gives them")
    bucket, _, key = place.partition("/")
    if not bucket:
        raise UsageError(f"{address} names no bucket: write it as {urlsplit(address).scheme}://BUCKET/KEY")
    if any(part in (".", "..") for part in key.split("/")):
        raise UsageError(f"{address}: a key has no . and no .. in it")
    return address.rstrip("/")


def opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Raises UsageError if its package is not installed."""
    scheme = urlsplit(address).scheme
    try:
        import fsspec

        # No cached listings: another process may have written there.
        system, path = fsspec.core.url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as e:
        raise UsageError(f"{scheme}:// needs a package that is not installed: pip install {_PACKAGES[scheme]}") from e
    return system, path


def sentence(address: str, error: Exception) -> str:
    """The error of a store's client, in one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        reason = "there is no such bucket, or nothing at this key"
    return f"{address}: {reason}"


def put(folder: Path, address: str) -> str:
    """Copy a file or a directory, and compare the stored sizes. Returns what was copied."""
    system, root = opened(checked(address))
    files = [folder] if folder.is_file() else sorted(file for file in folder.rglob("*") if file.is_file())
    for file in files:
        place = root if file == folder else f"{root}/{file.relative_to(folder).as_posix()}"
        system.put_file(str(file), place)
        if (size := system.info(place)["size"]) != file.stat().st_size:
            raise OSError(f"{file} has {file.stat().st_size} bytes, and {size} of them arrived")
    not_copied(folder).unlink(missing_ok=True)
    return f"copied {len(files)} files to {checked(address)}"


def get(address: str, place: Path, most_bytes: int | None = None) -> None:
    """Copy a file or a directory from an address. It replaces the local one once everything has arrived. The limit
    applies only to a file."""
    system, root = opened(checked(address))
    if most_bytes is not None and (size := system.info(root)["size"]) > most_bytes:
        raise UsageError(f"it has {size:,} bytes, and may have {most_bytes:,}")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as folder:
        draft = Path(folder) / place.name
        names = [root] if system.isfile(root) else system.find(root)
        if not names:
            raise FileNotFoundError(root)
        for name in names:
            inside = PurePosixPath(name).relative_to(root)
            if ".." in inside.parts:
                raise UsageError(f"{address}: the key {name} leads out of its directory")
            (draft / inside).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(name, str(draft / inside))
            if (size := (draft / inside).stat().st_size) != (there := system.info(name)["size"]):
                raise OSError(f"{name} has {there} bytes, and {size} of them arrived")
        if place.is_dir():
            shutil.rmtree(place)
        draft.replace(place)


def not_copied(place: Path) -> Path:
    """The marker file next to a local copy that a command adds to, until the addition is in the store."""
    return place.with_name(f"{place.name}.not-copied")


def check(address: str) -> None:
    """Raises UsageError if something exists at the address, and the client's error if it cannot be reached."""
    system, root = opened(checked(address))
    bucket = root.split("/")[0]
    system.ls(bucket, refresh=True)
    if system.exists(root) and root != bucket:
        raise UsageError(f"{address} has results already: name another key")


def endpoint(address: str) -> str:
    """The URL for requests to this address; sends none. Raises UsageError if the store's client does not report it."""
    system, _ = opened(checked(address))
    match urlsplit(address).scheme:
        case "s3":
            system.connect()
            return str(system.s3.meta.endpoint_url)
        case "gs" | "gcs":
            return str(system._endpoint)
        case scheme:
            raise UsageError(f"{scheme}:// does not say where its requests go: use s3:// or gs://")


def main(words: Sequence[str]) -> int:
    """Run the program. Prints one sentence to stderr if the copy is incomplete."""
    command, *places = words
    address = next(place for place in places if is_address(place))
    try:
        match command:
            case "put":
                print(put(Path(places[0]), places[1]))
            case "get":
                get(places[0], Path(places[1]), int(places[2]) if places[2:] else None)
            case "endpoint":
                print(endpoint(places[0]))
            case _:
                check(places[0])
    except UsageError as e:
        print(e.problems[0], file=sys.stderr)
        return Exit.USAGE
    except KeyboardInterrupt:
        print(f"{address}: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except Exception as e:  # Each store's client has its own errors.
        print(sentence(address, e), file=sys.stderr)
        return Exit.USAGE
    return Exit.GOOD


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

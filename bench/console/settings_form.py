"""The form of a task, built from the declaration of the settings, and the check of its input.

Settings can name only uploaded files. Otherwise a request could make a run read another file of this machine and send
it to a server.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from bench.config import Settings, resolve
from bench.config.addresses import urls_of
from bench.config.flags import GROUPS, Option
from bench.config.tokenless import HTTP
from bench.console.data_files import DataFiles
from bench.console.errors import NotFound, Refused
from bench.console.form_words import HINTS, label_of, plain
from bench.console.kinds import KINDS, parted
from bench.console.language import Phrase, tr
from bench.endpoints.choice import endpoint_of
from bench.endpoints.definition import is_file
from bench.errors import UsageError
from bench.secrets import MASK, holds_mask, is_secret_name, shown_url
from bench.traffic import classes
from promptset import recipes
from promptset.errors import SpecError
from promptset.probes.sets import looks_like_a_set

USUAL = (
    "url", "endpoint", "model", "concurrency", "rate", "requests", "duration", "warmup", "input_tokens", "output_tokens",
    "dataset", "ignore_eos", "slo",
    "load", "start", "min", "max", "budget", "precision", "require", "loads", "repeats", "gpus",
    "method", "expect", "rows", "share", "alone", "margin",
)  # fmt: skip
"""The settings that are always visible; the others are under "More"."""

LEFT_OUT = ("out", "format", "quiet", "details", "limits", "api_key", "header", "name", "api", "targets")
"""Secrets have separate fields, and the console chooses where results go."""

FILES = ("dataset", "tools", "ca_file", "client_cert", "client_key", "runtime_env")
FILES_BEHIND_AT = ("body", "body_template")
"""Settings that are a text, or the name of a file after @."""
URLS = ("url", "proxy", "tokenizer", "server_metrics", "gpu_metrics", "otlp")
"""Settings that may be URLs, one or several."""
FILES_OF_CLASSES = ("dataset", "tools")
SECRET_FIELDS = ("api_key", "header")
_MOST_CHECKED_BYTES = 4 << 20
"""A larger data file is not checked when a task is created, because the form would have to wait."""
_ROWS_NAMED = 5
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")


@dataclass(frozen=True, slots=True)
class FormField:
    """A setting as a form field."""

    name: str
    label: str
    doc: str
    group: str
    kind: str
    """text, number, switch, choice or lines (one value per line)."""
    default: str
    choices: tuple[str, ...] = ()

    @property
    def usual(self) -> bool:
        return self.name in USUAL


def fields(kind: str = "run") -> list[FormField]:
    """Every setting of a kind of task, in the order of the declaration; the kind's own come first."""
    form = KINDS[kind]
    form_fields = [_of_option(option) for option in form.options]
    names = {option.name for option in form.options}
    for name, declared in Settings.model_fields.items():
        extra = declared.json_schema_extra
        if (
            name in names
            or name in LEFT_OUT
            or name in form.left_out
            or not isinstance(extra, dict)
            or extra.get("group") not in GROUPS
        ):
            continue
        default = str(extra.get("otherwise") or _written(declared.default))
        metavar = str(extra.get("metavar") or "")
        words = tuple(
            w for part in get_args(declared.annotation) for w in (*get_args(part), part) if isinstance(w, str)
        )
        # A metavar of lowercase names (chat|completions) lists the choices; one of placeholders (FILE|NAME) does not.
        choices = words or (tuple(metavar.split("|")) if "|" in metavar and metavar.islower() else ())
        if name == "endpoint":  # Another field asks whether it is an LLM.
            choices = tuple(choice for choice in choices if choice != HTTP)
        if declared.annotation is bool:
            shape = "switch"
        elif choices:
            shape = "choice"
        elif declared.default == () or name == "url":
            shape = "lines"
        else:
            shape = "number" if declared.annotation in (int, float) else "text"
        doc, default = HINTS.get(name) or (plain((declared.description or "").replace("%%", "%")), plain(default))
        form_fields.append(
            FormField(name, label_of(name), Phrase(doc), str(extra["group"]), shape, Phrase(default), choices)
        )
    return form_fields


def _of_option(option: Option) -> FormField:
    """A command's flag as a field. Its help ends with the default."""
    doc, _, default = option.help.replace("%%", "%").partition(" (default: ")
    choices = tuple(option.metavar.split("|")) if "|" in option.metavar else ()
    shape = "choice" if choices else "text"
    hint = HINTS.get(option.name) or (plain(doc), plain(default.removesuffix(")").partition(";")[0]))
    return FormField(option.name, label_of(option.name), Phrase(hint[0]), "load", shape, Phrase(hint[1]), choices)


def _written(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default == () or repr(default) == "PydanticUndefined":
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def typed(form: Mapping[str, Any], kind: str = "run") -> dict[str, Any]:
    """The settings that were typed into the fields. An empty field is no setting."""
    settings: dict[str, Any] = {}
    for field in fields(kind):
        value = form.get(field.name)
        if field.kind == "switch":
            on = value is not None and str(value).lower() not in ("", "off", "false")
            if on != (field.default == "on"):
                settings[field.name] = on
        elif value is not None and str(value).strip():
            text = str(value).strip()
            lines = [line for line in map(str.strip, text.splitlines()) if line]
            single = field.kind != "lines" or (field.name == "url" and len(lines) == 1)
            settings[field.name] = text if single else lines
    return settings


def check(
    settings: Mapping[str, Any], secrets: Mapping[str, Any], files: DataFiles, kind: str = "run"
) -> dict[str, Any]:
    """Check settings and replace file names by paths. Raises Refused with every problem and its field."""
    problems: list[tuple[str | None, str]] = []
    with_paths = dict(settings)
    for name in LEFT_OUT:
        if name in with_paths:
            secret = name in SECRET_FIELDS
            of_secret = tr("%(name)s is a secret: it has a field of its own", name=name)
            problems.append((name, of_secret if secret else tr("%(name)s is chosen by the console", name=name)))
            del with_paths[name]
    addresses = urls_of(settings.get("url"))
    if any(url.startswith("@") for url in addresses):
        problems.append(("url", tr("type the addresses, one on a line: a file of them would be one of this machine")))
        with_paths["url"] = "http://127.0.0.1:1"
    for name in URLS:
        problems += [(name, sentence) for url in urls_of(settings.get(name)) for sentence in _secrets_in_url(url)]
    extra = with_paths.get("extra_body")
    if extra is not None and (holds_mask(extra) or _names_secrets(extra)):
        problems.append(("extra_body", tr("fields with names of secrets cannot be stored: use the key or a header")))
    problems += _put_paths(with_paths, files)
    if with_paths.get("mix") is not None:
        with_paths["mix"], wrong = _mix(with_paths["mix"], files)
        problems += [("mix", problem) for problem in wrong]
        if wrong:
            del with_paths["mix"]
    tokenizer = with_paths.get("tokenizer")
    if tokenizer is not None and not _is_tokenizer_name(str(tokenizer)):
        problems.append(("tokenizer", tr("name a model of the hub (Qwen/Qwen3-8B), `server`, or the URL of a server")))
        del with_paths["tokenizer"]
    of_runs, options = parted(with_paths, kind)
    try:
        KINDS[kind].check({**of_runs, **secrets}, options)
    except UsageError as e:
        problems += [_beside(problem, options) for problem in e.problems]
    if not problems:
        problems += _bad_rows({name: value for name, value in of_runs.items() if name not in KINDS[kind].left_out})
    if problems:
        raise Refused(problems)
    return with_paths


def _bad_rows(settings: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    """The first problems in the rows of small data files, including those of classes. The run itself reports a large
    file's."""
    try:
        config = resolve(settings)
    except (UsageError, OSError):
        return []  # A setting that only the kind of task determines, or a deleted file.
    problems: list[tuple[str | None, str]] = []
    for name, each in [(traffic.name, traffic.config) for traffic in config.classes] or [("", config)]:
        path = Path(each.dataset or "")
        try:
            if path.is_file() and path.stat().st_size <= _MOST_CHECKED_BYTES:
                chat = endpoint_of(each).takes_messages
                each.data.open(None, seed=each.seed, salt=None, chat=chat, first=0, step=1)
        except SpecError as e:
            for why in (problem.replace(f"{path.parent}/", "") for problem in e.problems[:_ROWS_NAMED]):
                of_class = tr("class %(name)s: %(setting)s: %(why)s", name=name, setting="dataset", why=why)
                problems.append(("mix", of_class) if name else ("dataset", why))
        except (UsageError, OSError):
            pass  # The file is gone, or needs something only the task may have.
    return problems


def _put_paths(settings: dict[str, Any], files: DataFiles) -> list[tuple[str | None, str]]:
    """Replace the names of uploaded files by their paths. A name without a file is removed and returned as a problem."""
    problems: list[tuple[str | None, str]] = []
    of_api = ("endpoint",) if is_file(str(settings.get("endpoint", ""))) else ()
    for name in (*FILES, *FILES_BEHIND_AT, *of_api):
        value, at = settings.get(name), "@" if name in FILES_BEHIND_AT else ""
        if value is None or not str(value).startswith(at):
            continue
        try:
            settings[name] = at + _uploaded(name, str(value).removeprefix(at), files)
        except NotFound as e:
            problems.append((name, str(e)))
            del settings[name]
    if settings.get("probes") is not None:
        try:
            settings["probes"] = ",".join(_probes(piece, files) for piece in str(settings["probes"]).split(","))
        except NotFound as e:
            problems.append(("probes", str(e)))
            del settings["probes"]
    return problems


def _probes(piece: str, files: DataFiles) -> str:
    """A part of a description of probes, with an uploaded file's name replaced by its path. Raises NotFound."""
    name, equals, count = piece.strip().partition("=")
    on_hub = _HUB_NAME.fullmatch(name) is not None and "/" in name and not Path(name).suffix and not Path(name).exists()
    if on_hub or not looks_like_a_set(name):
        return piece
    return f"{_uploaded('probes', name, files)}{equals}{count}"


def _uploaded(name: str, value: object, files: DataFiles) -> str:
    """The path of the uploaded file or the recipe that a setting names. Raises NotFound."""
    if (name == "dataset" and recipes.is_recipe(str(value))) or (name == "runtime_env" and value in ("code", "none")):
        return str(value)
    try:
        return str(files.path(str(value)))
    except NotFound as e:
        if name == "dataset":
            raise NotFound(tr("%(why)s: upload it under Data first, or name a recipe", why=str(e))) from e
        raise NotFound(tr("%(why)s: upload it under Data first", why=str(e))) from e


def _mix(value: object, files: DataFiles) -> tuple[object, list[str]]:
    """The classes of an uploaded mix, with its own files resolved to uploads, and the problems found."""
    try:
        content = classes.read(value if isinstance(value, Mapping) else _uploaded("mix", value, files))
    except NotFound as e:
        return None, [str(e)]
    except ValueError as e:
        return None, [f"--mix: {problem}" for problem in str(e).splitlines()]
    problems: list[str] = []
    rows = []
    assert isinstance(content, dict)
    for row in content["classes"]:
        rows.append(dict(row))
        if "headers" in row:
            problems.append(
                tr("class %(name)s: headers would be stored: type them as headers of the task", name=row["name"])
            )
        for name in FILES_OF_CLASSES:
            try:
                rows[-1] |= {name: _uploaded(name, row[name], files)} if row.get(name) is not None else {}
            except NotFound as e:
                problems.append(tr("class %(name)s: %(setting)s: %(why)s", name=row["name"], setting=name, why=str(e)))
    return {"classes": rows}, problems


def _beside(problem: str, options: Collection[str]) -> tuple[str | None, str]:
    """Match a message to its field: `--input-tokens: must be ...` is about input_tokens."""
    flag = re.search(r"--(?:no-)?([a-z][a-z-]*)", problem)
    name = None if flag is None else flag[1].replace("-", "_")
    return (name if name in Settings.model_fields or name in options or name == "loads" else None), problem


def _secrets_in_url(url: str) -> list[str]:
    if "://" in url and f"{MASK}@" in shown_url(url):
        return [
            tr("a user and a password in the URL would be stored: type them as a header (Authorization: Basic ...)")
        ]
    secret = tr("values in the URL's query may be secret and would be stored: leave the query out")
    return [secret] if "?" in url else []


def _names_secrets(value: object) -> bool:
    if isinstance(value, str):
        return any(is_secret_name(word) for word in re.findall(r'"([^"]+)"\s*:', value))
    if isinstance(value, dict):
        return any(is_secret_name(str(key)) or _names_secrets(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_names_secrets, value))


def _is_tokenizer_name(text: str) -> bool:
    if text == "server" or text.startswith(("http://", "https://")):
        return True
    return _HUB_NAME.fullmatch(text) is not None and ".." not in text and not Path(text).exists()


def secrets_of(api_key: str | None, headers: str | None) -> dict[str, Any]:
    """The input of the secret fields: a key, and headers, one per line. Raises Refused."""
    secrets: dict[str, Any] = {}
    if api_key and api_key.strip():
        secrets["api_key"] = api_key.strip()
    lines = [line.strip() for line in (headers or "").splitlines() if line.strip()]
    if any(":" not in line for line in lines):
        raise Refused([("header", tr("write each header as NAME: VALUE, one on a line"))])
    if lines:
        secrets["header"] = lines
    return secrets

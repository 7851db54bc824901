"""A data set in a file. Every row is checked once, and read again when it is used.

Only a row's position, lengths and time stay in memory (40 bytes). Prompts of a trace are generated on use: row i
becomes the same prompt in every process.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, overload

from promptset.errors import SKIP_ROWS, SpecError
from promptset.loaders import inputs, rows, traces
from promptset.loaders.containers import open_container
from promptset.loaders.recordings import format_of
from promptset.loaders.rows import COUNTS, ROW_KEYS, SENT_KEYS, Format, ParsedRow, Row
from promptset.media import has_media, without_media
from promptset.outline import Outline, PromptMaker
from promptset.samples import MOST_TOKENS, Sample
from promptset.sharing import Path as SharedPath
from promptset.tokenizer import Tokenizer
from promptset.tokens import load_tokenizer

_log = logging.getLogger(__name__)

FORMATS: dict[str, Format] = {**rows.FORMATS, **traces.FORMATS}
"""All kinds of rows. The first that recognizes a row reads it."""

BadRows = Literal["fail", "skip"]

_SHOWN = 20
_BATCH = 512
_NONE = -1
"""An unknown length."""


class DataSet(Sequence[Sample]):
    """The samples of a file. `skipped` lists up to 20 problems of the `skipped_rows` bad rows."""

    def __init__(
        self,
        path: Path,
        *,
        tokenizer: Tokenizer | None = None,
        chat: bool = False,
        columns: Mapping[str, str] | None = None,
        bad_rows: BadRows = "fail",
        seed: int = 0,
        salt: str | None = None,
        endpoints: Mapping[str, bool] | None = None,
        inputs_are: str | None = None,
    ) -> None:
        """Reads and checks every row.

        With a tokenizer, missing lengths are counted as the prompt will be sent: with `chat`, as a user message.
        `columns` maps columns, ours -> theirs; others are then ignored. If it maps nothing that is sent, the columns of
        content, lengths and times keep our names. Prompts of a trace are generated from `seed` and `salt` with the
        tokenizer, or the embedded one. `endpoints` maps the names that rows may give to whether each takes chats; None:
        any name. Raises SpecError with up to 20 bad rows by line, unless `bad_rows` is "skip".

        `inputs_are`: `texts` for embeddings, `documents` for rerank, None for generated text; rows of other kinds are
        bad.
        """
        self.path = path
        self.skipped: list[str] = []
        self.skipped_rows = 0
        self._tokenizer = tokenizer
        self._chat = chat
        self._columns = columns
        self._seed = seed
        self._salt = salt
        self._endpoints = endpoints
        self.ways = Ways()
        self._inputs_are = inputs_are
        self._maker: PromptMaker | None = None
        self._container = open_container(path)
        self._starts, self._ends = array("q"), array("q")
        self._inputs, self._outputs = array("q"), array("q")
        self._at_s = array("d")
        self._index(bad_rows)

    def _index(self, bad_rows: BadRows) -> None:
        problems: list[str] = []
        waiting: list[tuple[ParsedRow, _TextsToCount]] = []
        bad = empty = 0
        for number, start, end, value in self._container.entries():
            try:
                parsed = self._read(value)
                texts = None if parsed is None else self._check(parsed)
            except SpecError as e:
                bad += 1
                where = f"{self.path}, {self._container.unit} {number}"
                problems += [f"{where}: {problem}" for problem in e.problems if len(problems) <= _SHOWN]
                continue
            if parsed is None or texts is None:
                empty += 1
                continue
            self.ways.add(parsed, len(self))
            self._starts.append(start)
            self._ends.append(end)
            waiting.append((parsed, texts))
            if len(waiting) == _BATCH:
                self._keep(waiting)
        self._keep(waiting)
        if bad and bad_rows == "fail":
            raise SpecError.of_rows(problems, _SHOWN, f"bad rows in all: {bad:,}", SKIP_ROWS)
        self.skipped, self.skipped_rows = problems[:_SHOWN], bad
        if not self._starts:
            raise SpecError(f"the data set {self.path} has no rows to send: write at least one")
        if empty:
            _log.warning(
                "%s: %d of %d rows have no message of a user and are skipped", self.path, empty, empty + len(self)
            )
        first = min((at for at in self._at_s if not math.isnan(at)), default=0.0)
        self._at_s = array("d", (at - first for at in self._at_s))

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """The sample of a row, read from the file."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        parsed = self._read(self._container.value(self._starts[index], self._ends[index]))
        if parsed is None:
            raise SpecError(f"{self.path} was changed while it was used")
        inputs, outputs, at_s = self._inputs[index], self._outputs[index], self._at_s[index]
        sample = parsed.sample
        if sample is None:
            assert parsed.outline is not None
            path = self._cut_to_fit(parsed.outline)
            made = self._makes().make(inputs, path, index)
            sample = Sample(prompt=made, path=path) if isinstance(made, str) else Sample(messages=made, path=path)
        return dataclasses.replace(
            sample,
            input_tokens=None if inputs == _NONE else inputs,
            output_tokens=None if outputs == _NONE else outputs,
            at_s=None if math.isnan(at_s) else at_s,
            **parsed.own,
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @property
    def timed(self) -> bool:
        """Whether every row has a time."""
        return not any(map(math.isnan, self._at_s))

    def times_s(self) -> array[float]:
        """When to send each row, in seconds from the first; NaN if the row has no time."""
        return self._at_s

    @property
    def head(self) -> int | None:
        """Tokens before shared text if prompts are generated here, else None."""
        return None if self._maker is None else self._maker.head

    @property
    def maker_tokenizer(self) -> Tokenizer | None:
        """The tokenizer that generates prompts here. None if every row has a text."""
        return None if self._maker is None else self._maker.tokenizer

    def outline_at(self, index: int) -> Outline | None:
        """The outline of a row of a trace. None for a row with a text."""
        parsed = self._read(self._container.value(self._starts[index], self._ends[index]))
        if parsed is None or parsed.outline is None:
            return None
        return dataclasses.replace(parsed.outline, path=self._cut_to_fit(parsed.outline))

    def _read(self, value: object) -> ParsedRow | None:
        if isinstance(value, SpecError):
            raise value
        if not isinstance(value, dict):
            raise SpecError("not a JSON object")
        row = _pick_columns(value, self._columns)
        if self._container.texts:
            row = _with_numbers(row)
        for known in FORMATS.values():
            if known.recognizes(row):
                return known.read(row)
        if "turns" in row or format_of(row) is not None:
            raise SpecError("a session of several turns: python -m bench run --mode sessions sends such rows")
        (only,) = row if len(row) == 1 else ("",)
        other = next((f"; its columns are separated by {sign!r}: write commas" for sign in ";\t|" if sign in only), "")
        prompt = next((key for key in row if key.strip().lower() in _PROMPTS_ELSEWHERE), None)
        raise SpecError(
            f"no prompt, messages, conversations, body, texts or documents, nor the lengths of a trace, among its keys: "
            f"{', '.join(row) or 'none'}{other if self._container.texts else ''}"
            + (f"; if {prompt} is the prompt, add --columns prompt={prompt}" if prompt is not None else "")
        )

    def _makes(self) -> PromptMaker:
        if self._maker is None:
            tokenizer = self._tokenizer if self._tokenizer is not None else load_tokenizer()
            self._maker = PromptMaker(tokenizer, chat=self._chat, seed=self._seed, salt=self._salt)
        return self._maker

    def _cut_to_fit(self, outline: Outline) -> SharedPath:
        """The path of an outline, limited to the room in the prompt: the last token is never shared."""
        room = self._makes().room(outline.input_tokens).most
        path = []
        for name, tokens in outline.path:
            if room > 0:
                path.append((name, min(tokens, room)))
            room -= tokens
        return tuple(path)

    def _check(self, parsed: ParsedRow) -> _TextsToCount:
        """The texts still to be counted. Raises SpecError if the prompt cannot be generated or the template refuses it."""
        if (problem := inputs.misfit(parsed, self._inputs_are)) is not None:
            raise SpecError(problem)
        chat = self._takes_chats(parsed) if "endpoint" in parsed.own else self._chat
        messages_given = parsed.sample is not None and parsed.sample.messages is not None
        if messages_given and not chat and self._endpoints is not None:
            where = f"the endpoint {parsed.own['endpoint']}" if "endpoint" in parsed.own else "an endpoint of prompts"
            raise SpecError(f"messages cannot be sent to {where}: give a prompt")
        if parsed.outline is not None:
            maker, asked = self._makes(), parsed.outline.input_tokens
            if asked < maker.least:
                raise SpecError(f"{asked} tokens are too few: the shortest prompt has {maker.least}")
            if asked > MOST_TOKENS:
                raise SpecError(f"{asked} tokens are too many: a prompt can have at most {MOST_TOKENS:,}")
            return _TextsToCount()
        tokenizer, sample = self._tokenizer, parsed.sample
        assert sample is not None
        if tokenizer is None:
            return _TextsToCount()
        if sample.input_tokens is not None:
            return _TextsToCount(answer=parsed.answer)
        body: Row = {"prompt": sample.prompt, "messages": sample.messages, "tools": sample.tools}
        body = body if sample.body is None else sample.body
        if (texts := inputs.texts_of(sample)) is not None:
            counted = sum(tokenizer.count_plain(texts)) + len(texts) * tokenizer.special_tokens_added
            return _TextsToCount(counted=counted)
        if sample.prompt is not None and chat:
            body = {"messages": [{"role": "user", "content": sample.prompt}]}
        if (messages := body.get("messages")) is not None:
            if has_media(messages):  # Only the server knows the cost of an image.
                messages = without_media(messages)
            if tokenizer.is_remote:
                return _TextsToCount(counted=tokenizer.count_chat(messages, body.get("tools")), answer=parsed.answer)
            return _TextsToCount(tokenizer.render_chat(messages, body.get("tools")), answer=parsed.answer)
        if isinstance(body.get("prompt"), str):
            return _TextsToCount(body["prompt"], tokenizer.special_tokens_added, answer=parsed.answer)
        return _TextsToCount(
            answer=parsed.answer
        )  # A body may hold token ids or several prompts, which are not counted.

    def _takes_chats(self, parsed: ParsedRow) -> bool:
        """Whether the endpoint that the row names takes chats. Raises SpecError if the row cannot be sent to it."""
        name = parsed.own["endpoint"]
        if self._endpoints is None:
            return self._chat
        if name not in self._endpoints:
            if len(self._endpoints) == 1:
                raise SpecError(f"endpoint {name!r}: all rows of this run go to {''.join(self._endpoints)}")
            raise SpecError(f"endpoint {name!r} is not one of {', '.join(self._endpoints)}")
        chats = self._endpoints[name]
        if parsed.outline is not None and chats != self._chat:
            made = "chats" if self._chat else "prompts that are no chats"
            raise SpecError(f"prompts are made as {made} here, and cannot be sent to the endpoint {name}")
        return chats

    def _keep(self, waiting: list[tuple[ParsedRow, _TextsToCount]]) -> None:
        """Stores the lengths and times of rows. All texts are counted in one batch."""
        texts = [text for _, left in waiting for text in (left.text, left.answer) if text is not None]
        counts = iter(self._tokenizer.count_plain(texts) if self._tokenizer is not None and texts else [])
        for parsed, left in waiting:
            known: Sample | Outline | None = parsed.sample if parsed.outline is None else parsed.outline
            assert known is not None
            inputs, outputs = known.input_tokens, known.output_tokens
            inputs = inputs if left.counted is None else left.counted
            inputs = inputs if left.text is None else next(counts) + left.adds
            outputs = outputs if left.answer is None else next(counts)
            self._inputs.append(_NONE if inputs is None else inputs)
            self._outputs.append(_NONE if outputs is None else outputs)
            self._at_s.append(math.nan if parsed.at_s is None else parsed.at_s)
        waiting.clear()


@dataclasses.dataclass(slots=True)
class Ways:
    """The destinations of a file's rows. `first` maps each pair of endpoint and model (None: the run's) to its first
    row, up to 20 pairs. `unnamed` is the first row that names no model."""

    first: dict[tuple[str | None, str | None], int] = dataclasses.field(default_factory=dict)
    unnamed: int | None = None

    def add(self, parsed: ParsedRow, place: int) -> None:
        """Record the row at this index (from 0)."""
        model = parsed.own.get("model")
        if model is None and parsed.sample is not None and parsed.sample.body is not None:
            value = parsed.sample.body.get("model")
            model = value if isinstance(value, str) else None
        if model is None and self.unnamed is None:
            self.unnamed = place
        if len(self.first) < _SHOWN:
            self.first.setdefault((parsed.own.get("endpoint"), model), place)


@dataclasses.dataclass(frozen=True, slots=True)
class _TextsToCount:
    """Texts of a row that must be counted. `adds` is added to the count of `text`. `counted` is already known."""

    text: str | None = None
    adds: int = 0
    answer: str | None = None
    counted: int | None = None


_PROMPTS_ELSEWHERE = frozenset(
    {
        "content",
        "input",
        "inputs",
        "instruction",
        "problem",
        "query",
        "question",
        "questions",
        "request",
        "text",
        "user",
    }
)
"""Names of the prompt column in other data sets."""


def _pick_columns(row: Row, columns: Mapping[str, str] | None) -> Row:
    if columns is None:
        return row
    if missing := [theirs for theirs in columns.values() if theirs not in row]:
        raise SpecError(f"no column {', '.join(map(repr, missing))} among {', '.join(row) or 'none'}")
    picked = {ours: row[theirs] for ours, theirs in columns.items()}
    # Columns that rename only a length or the time leave the content columns under their own names.
    if not any(ours in SENT_KEYS for ours in columns):
        rest = (key for key in (*SENT_KEYS, *COUNTS, "at_s") if key in row and key not in columns.values())
        return {**{key: row[key] for key in rest}, **picked}
    return picked


def _with_numbers(row: Row) -> Row:
    """A row of text values with our numeric columns parsed and empty values dropped."""
    typed: Row = {}
    for key, value in row.items():
        if value == "" and key in ROW_KEYS and key != "prompt":
            continue
        typed[key] = value
        read = int if key in COUNTS else float if key == "at_s" else None
        if read is not None:
            try:
                typed[key] = read(value)
            except ValueError:
                continue  # The check of the row reports the problem.
    return typed


def parse_columns(text: str) -> dict[str, str]:
    """`prompt=question,output_tokens=len` as a dict, ours -> theirs. Raises SpecError."""
    problems = []
    columns: dict[str, str] = {}
    for part in text.split(","):
        ours, equals, theirs = (piece.strip() for piece in part.partition("="))
        if not equals or not theirs:
            problems.append(f"{part!r} is not ours=theirs")
        elif ours not in ROW_KEYS:
            problems.append(f"{ours!r} is not one of {', '.join(ROW_KEYS)}")
        elif ours in columns:
            problems.append(f"{ours!r} is given twice")
        else:
            columns[ours] = theirs
    if problems:
        raise SpecError(
            [f"{text!r}: {problem} (example: prompt=question,output_tokens=length)" for problem in problems]
        )
    return columns

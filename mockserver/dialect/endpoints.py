"""The list of endpoints. To add one, write a file here and add a line."""

from __future__ import annotations

from mockserver.dialect.embeddings import EMBEDDINGS
from mockserver.dialect.endpoint import Endpoint
from mockserver.dialect.generated_images import GENERATED_IMAGES
from mockserver.dialect.messages import MESSAGES
from mockserver.dialect.ollama import OLLAMA_CHAT, OLLAMA_GENERATE
from mockserver.dialect.openai import CHAT, COMPLETION
from mockserver.dialect.pooling import PoolingEndpoint
from mockserver.dialect.realtime import RealtimeTalk
from mockserver.dialect.rerank import RERANK, RERANK_V2, SCORE
from mockserver.dialect.responses import RESPONSES
from mockserver.dialect.socket_responses import ResponsesTalk
from mockserver.dialect.socket_talk import SocketTalk
from mockserver.dialect.speech import SPEECH
from mockserver.dialect.tgi import TGI, TGI_STREAM
from mockserver.dialect.transcriptions import TRANSCRIPTIONS

_ALL = (
    CHAT, COMPLETION, MESSAGES, RESPONSES, OLLAMA_CHAT, OLLAMA_GENERATE, TGI_STREAM, TGI, TRANSCRIPTIONS, SPEECH,
    GENERATED_IMAGES,
)  # fmt: skip
ENDPOINTS: dict[str, Endpoint] = {endpoint.path: endpoint for endpoint in _ALL}
"""The endpoints that generate text, by path."""

_TALKS: tuple[type[SocketTalk], ...] = (ResponsesTalk, RealtimeTalk)
SOCKETS = {talk.endpoint.path: talk for talk in _TALKS}
"""The WebSocket protocols, by path."""

POOLING_ENDPOINTS: dict[str, PoolingEndpoint] = {
    path: endpoint for endpoint in (EMBEDDINGS, RERANK, RERANK_V2, SCORE) for path in endpoint.paths
}
"""The endpoints that generate no text, by path."""

"""The endpoints. Each is one line here, and a file in this room."""

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
"""Those that generate text, by path."""

_TALKS: tuple[type[SocketTalk], ...] = (ResponsesTalk, RealtimeTalk)
SOCKETS = {talk.endpoint.path: talk for talk in _TALKS}
"""What is said over WebSockets, by path."""

POOLING_ENDPOINTS: dict[str, PoolingEndpoint] = {
    path: endpoint for endpoint in (EMBEDDINGS, RERANK, RERANK_V2, SCORE) for path in endpoint.paths
}
"""Those that generate no text, by path."""

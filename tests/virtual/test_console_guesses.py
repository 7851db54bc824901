"""The console's guard in virtual time: how long wrong tokens wait, and which requests are served meanwhile."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope, Send

from bench.clock import NS_PER_S
from bench.console.security import Guard, Keys
from tests.support.virtual_time import START_NS, VirtualTimeLoop, run_virtual

TOKEN = "a-token-of-the-test"


def test_ten_wrong_tokens_lock_their_sender_out_of_the_url_the_api_and_the_page_but_not_its_cookie() -> None:
    said: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def main(loop: VirtualTimeLoop) -> None:
        keys = Keys(TOKEN)
        guard = Guard(app, keys, host="127.0.0.1", cookie="c", say=said.append)

        async def asked(
            query: str = "", sender: str = "10.0.0.7", body: bytes = b"", bearer: str = "", cookie: str = ""
        ) -> tuple[int, dict[bytes, bytes]]:
            sent: list[Message] = []

            async def send(message: Message) -> None:
                sent.append(message)

            async def receive() -> Message:
                return {"type": "http.request", "body": body}

            headers = {"host": "127.0.0.1", "authorization": f"Bearer {bearer}" if bearer else "", "cookie": cookie}
            given = [(name.encode(), value.encode()) for name, value in headers.items()]
            path, method = ("/token", "POST") if body else ("/", "GET")
            scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": given,
                     "client": (sender, 1)}  # fmt: skip
            await guard(scope, receive, send)
            return int(sent[0]["status"]), dict(sent[0]["headers"])

        def after_s() -> float:
            return (loop.virtual_ns - START_NS) / NS_PER_S

        for number in range(10):
            way = (asked(query="token=no"), asked(bearer="no"), asked(body=b"token=no"))
            status, _ = await way[number % 3]
            for other in way:
                other.close()
            assert (status, after_s()) == (401, max(0, number - 2))
        for right in (asked(query=f"token={TOKEN}"), asked(bearer=TOKEN), asked(body=f"token={TOKEN}".encode())):
            status, answered = await right
            # The last wrong token was counted, and answered a second later.
            assert (status, answered[b"retry-after"]) == (429, b"59")
        assert (await asked(cookie=f"c={keys.session}"))[0] == 200
        assert (await asked(sender="10.0.0.8", bearer=TOKEN))[0] == 200
        loop.charge(60 * NS_PER_S)
        assert (await asked(bearer=TOKEN))[0] == 200
        # Requests without a token, or with a cookie from before a restart, are no guesses.
        for _ in range(20):
            assert (await asked(cookie="c=old"))[0] == 401
        assert (await asked(bearer=TOKEN))[0] == 200

    run_virtual(main)
    assert said == ["10 wrong tokens from 10.0.0.7: locked out for 60 s"]

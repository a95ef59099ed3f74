"""A WebSocket server on the package `websockets`; the path says what it does.

/echo       sends every message back
/fragments  sends every message back in fragments with pings between, then "answered"
/ping       sends pings, waits for the pong of each, says "answered", and echoes
/close      closes as the first message says: "CODE REASON", or nothing for an empty close frame
/refuse     answers the handshake with 403
/unoffered  chooses a subprotocol that was not offered

Printed: a line with the versions and the port, then `closed CODE REASON`, as received, at the end
of each connection.
"""

import asyncio
import platform
from http import HTTPStatus

import websockets
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from fragments import send_in_fragments

SUBPROTOCOLS = ["chat", "superchat"]


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def echo_in_fragments(ws):
    async for message in ws:
        await send_in_fragments(ws, message)
        await ws.send("answered")


async def ping(ws):
    for payload in [b"", b"hi", b"p" * 125]:
        # It resolves with a pong of the same payload only.
        await (await ws.ping(payload))
    await ws.send("answered")
    await echo(ws)


async def close(ws):
    code, _, reason = (await ws.recv()).partition(" ")
    if code:
        await ws.close(int(code), reason)
    else:
        async with ws.send_context():
            ws.protocol.send_close()


EXCHANGES = {"/fragments": echo_in_fragments, "/ping": ping, "/close": close}


async def handle(ws):
    try:
        await EXCHANGES.get(ws.request.path, echo)(ws)
    except ConnectionClosed:
        pass
    await ws.wait_closed()
    print(f"closed {ws.close_code} {ws.close_reason}")


def refuse(ws, request):
    if request.path == "/refuse":
        return ws.respond(HTTPStatus.FORBIDDEN, "not you\n")
    return None


def select_subprotocol(ws, offered):
    if ws.request.path == "/unoffered":
        return "unoffered"
    return next((name for name in SUBPROTOCOLS if name in offered), None)


async def main():
    # permessage-deflate is on by default, for clients that offer it.
    server = await serve(
        handle,
        "127.0.0.1",
        0,
        process_request=refuse,
        select_subprotocol=select_subprotocol,
    )
    port = server.sockets[0].getsockname()[1]
    versions = f"websockets {websockets.__version__} (Python {platform.python_version()})"
    print(f"{versions} listens on port {port}")
    await server.serve_forever()


asyncio.run(main())

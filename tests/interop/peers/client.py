"""A WebSocket client on the package `websockets`, which runs a table of exchanges with a server.

client.py URL       prints the versions, then `ok …` or `not ok …` per check, then how many there
                    were: `1..N`. Fails if one of them did.
client.py URL wait  connects to /echo, exchanges a message, prints `waiting` and waits for ever.

What the server does at each path is said in tests/it/server.rs.
"""

import asyncio
import platform
import sys

import websockets
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fragments import send_in_fragments

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1024 * 1024]
CLOSES = [
    (1000, ""),
    (1000, "bye"),
    (1001, ""),
    (1011, "no 👋"),
    (3000, "first"),
    (4999, "last"),
    (4000, "r" * 123),
    (None, ""),
]

URL, *MODE = sys.argv[1:]
checks = []


def check(name, got, expected):
    is_ok = got == expected
    checks.append(is_ok)
    print(f"ok {name}" if is_ok else f"not ok {name}: expected {expected!r:.200}, got {got!r:.200}")


def text(size):
    """Text of that many bytes, with characters of one to four bytes."""
    return "aé€👋" * (size // 10) + "x" * (size % 10)


def binary(size):
    return bytes(i * 7 % 256 for i in range(size))


def payloads():
    return [make(size) for size in SIZES for make in (text, binary)]


def title(message):
    data = message.encode() if isinstance(message, str) else message
    return f"{'text' if isinstance(message, str) else 'binary'} of {len(data)} bytes"


def open(path, **options):
    return connect(URL + path, **options)


async def check_messages():
    async with open("/echo") as ws:
        check("permessage-deflate is offered", "deflate" in str(ws.request.headers), True)
        check("and declined", ws.protocol.extensions, [])
        for message in payloads():
            await ws.send(message)
            check(f"echo of {title(message)}", await ws.recv(), message)
    async with open("/echo", compression=None) as ws:
        await ws.send("plain")
        check("nothing is offered", await ws.recv(), "plain")


async def check_fragments():
    async with open("/echo") as ws:
        for message in payloads():
            await send_in_fragments(ws, message)
            check(f"echo of fragments: {title(message)}", await ws.recv(), message)


async def check_pings():
    async with open("/echo") as ws:
        for payload in [b"", b"hi", b"p" * 125]:
            # It resolves with a pong of the same payload only.
            latency = await (await ws.ping(payload))
            check(f"pong for a ping of {len(payload)} bytes", latency > 0, True)
    async with open("/ping") as ws:
        check("the server's ping is answered", await ws.recv(), "answered")
    async with open("/keepalive") as ws:
        while (message := await ws.recv()) != "answered":
            await ws.send(message)
        check("the server's keepalive is answered", message, "answered")


async def check_subprotocols():
    for offered, chosen in [
        (None, None),
        (["superchat"], "superchat"),
        (["superchat", "chat"], "chat"),
        (["smoke-signals"], None),
        (["smoke-signals", "superchat"], "superchat"),
    ]:
        async with open("/subprotocol", subprotocols=offered) as ws:
            told = await ws.recv()
            check(f"subprotocol of {offered}", [ws.subprotocol, told], [chosen, chosen or "none"])


async def check_closes():
    for code, reason in CLOSES:
        words = f"{code} {reason}" if code else ""
        received = code or 1005
        async with open("/closing") as ws:
            await ws.send(words)
            if code:
                await ws.close(code, reason)
            else:
                async with ws.send_context():
                    ws.protocol.send_close()
            await ws.wait_closed()
            check(f"our close {words!r} is answered", ws.close_code, received)
        async with open("/close") as ws:
            await ws.send(words)
            await ws.wait_closed()
            got = [ws.close_code, ws.close_reason]
            check(f"the server's close {words!r} is received", got, [received, reason])
    for path, code in [("/leave", 1000), ("/fail", 1011)]:
        async with open(path) as ws:
            await ws.wait_closed()
            check(f"the close of {path}", ws.close_code, code)


async def check_refusal():
    try:
        async with open("/nowhere"):
            check("/nowhere is refused", "opened", 404)
    except InvalidStatus as error:
        check("/nowhere is refused", error.response.status_code, 404)


async def wait():
    async with open("/echo") as ws:
        await ws.send("hello")
        await ws.recv()
        print("waiting")
        await asyncio.Event().wait()


async def main():
    print(f"websockets {websockets.__version__} (Python {platform.python_version()})")
    if MODE == ["wait"]:
        await wait()
    await check_messages()
    await check_fragments()
    await check_pings()
    await check_subprotocols()
    await check_closes()
    await check_refusal()
    print(f"1..{len(checks)}")
    sys.exit(not all(checks))


asyncio.run(main())

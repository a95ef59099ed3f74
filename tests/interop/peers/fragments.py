"""Cuts a message into fragments, with a ping behind each."""


async def fragments(ws, data, pongs):
    """Yields `data` in pieces, cut amid characters; appends to `pongs` what waits for each pong."""
    size = 1 if len(data) < 1000 else 1021
    for start in range(0, max(len(data), 1), size):
        yield data[start : start + size]
        pongs.append(await ws.ping(f"after {start}"))


async def send_in_fragments(ws, message):
    """Sends a message in fragments, and waits until the last ping amid them was answered."""
    is_text = isinstance(message, str)
    data = message.encode() if is_text else message
    pongs = []
    await ws.send(fragments(ws, data, pongs), text=is_text)
    await pongs[-1]

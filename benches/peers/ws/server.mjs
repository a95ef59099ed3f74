// The peer ws, on Node.js, written like the examples of its documentation.

import WebSocket, { WebSocketServer } from "ws";

const mode = process.argv[2];
if (mode !== "echo" && mode !== "broadcast") {
  console.error("usage: node server.mjs echo|broadcast");
  process.exit(2);
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });

server.on("connection", (ws) => {
  ws.on("error", console.error);
  if (mode === "echo") {
    ws.on("message", (data, isBinary) => {
      ws.send(data, { binary: isBinary });
    });
  } else {
    ws.on("message", (data, isBinary) => {
      for (const client of server.clients) {
        if (client.readyState === WebSocket.OPEN) {
          client.send(data, { binary: isBinary });
        }
      }
    });
  }
});

server.on("listening", () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});

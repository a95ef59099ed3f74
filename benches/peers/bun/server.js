// The peer Bun, written like the documentation of its WebSocket server.

const TOPIC = "all";
const MIB = 1024 * 1024;

const mode = process.argv[2];
if (mode !== "echo" && mode !== "broadcast") {
  console.error("usage: bun server.js echo|broadcast");
  process.exit(2);
}

const handlers = {
  echo: {
    message(ws, message) {
      ws.send(message);
    },
  },
  broadcast: {
    open(ws) {
      ws.subscribe(TOPIC);
    },
    message(_ws, message) {
      server.publish(TOPIC, message);
    },
  },
};

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    if (server.upgrade(request)) {
      return;
    }
    return new Response("this is a WebSocket", { status: 426 });
  },
  websocket: {
    maxPayloadLength: 16 * MIB,
    backpressureLimit: 64 * MIB,
    ...handlers[mode],
  },
});

console.log(`listening on 127.0.0.1:${server.port}`);

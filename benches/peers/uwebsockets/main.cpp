/* The peer uWebSockets, written like its examples EchoServer and BroadcastingEchoServer. */

#include <cstdio>
#include <string_view>

#include "App.h"

namespace {

constexpr std::string_view TOPIC = "all";

struct PerSocketData {};

using Socket = uWS::WebSocket<false, true, PerSocketData>;

/* What both modes have in common; what is not set has its default. */
uWS::App::WebSocketBehavior<PerSocketData> behavior() {
    return {
        .maxPayloadLength = 16 * 1024 * 1024,
        .maxBackpressure = 64 * 1024 * 1024,
        .dropped = [](Socket *, std::string_view, uWS::OpCode) {
            std::fprintf(stderr, "a message was dropped\n");
        },
    };
}

}

/* Serves until the process is killed; returns where it can't. */
extern "C" int uwebsockets_serve(bool broadcast) {
    uWS::App app;
    auto settings = behavior();
    if (broadcast) {
        settings.open = [](Socket *ws) {
            ws->subscribe(TOPIC);
        };
        settings.message = [&app](Socket *, std::string_view message, uWS::OpCode opCode) {
            app.publish(TOPIC, message, opCode);
        };
    } else {
        settings.message = [](Socket *ws, std::string_view message, uWS::OpCode opCode) {
            ws->send(message, opCode);
        };
    }
    app.ws<PerSocketData>("/*", std::move(settings)).listen("127.0.0.1", 0, [](auto *socket) {
        if (socket) {
            std::printf("listening on 127.0.0.1:%d\n",
                        us_socket_local_port(0, (us_socket_t *) socket));
            std::fflush(stdout);
        }
    }).run();
    return 1;
}

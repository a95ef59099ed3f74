"""A side of Autobahn|Testsuite as `port.py` leaves it, with the arguments of the suite's `wstest`.

    python wstest.py fuzzingclient SPEC   tests the servers that the spec names, and ends
    python wstest.py fuzzingserver SPEC   tests who connects; reports are written when asked for

SPEC is the suite's own `fuzzingclient.json` or `fuzzingserver.json`. It listens on the loopback
only, where `wstest` takes every interface.
"""

import json
import sys

from autobahn.twisted.websocket import listenWS
from autobahntestsuite import fuzzing
from twisted.internet import reactor


def main():
    mode, path = sys.argv[1:]
    with open(path) as file:
        spec = json.load(file)
    if mode == "fuzzingclient":
        # It connects by itself.
        fuzzing.FuzzingClientFactory(spec)
    else:
        listenWS(fuzzing.FuzzingServerFactory(spec), interface="127.0.0.1")
    reactor.run()


main()

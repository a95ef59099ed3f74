"""Ports Autobahn|Testsuite 0.8.2, and the autobahn 0.10.9 it needs, from Python 2.7 to Python 3.

    python port.py

Rewrites both where the interpreter that runs this has them installed; once only.

Two ideas carry the port. The sources are read as Latin-1, so that each str literal has, as code
points 0 to 255, the very octets that Python 2 read. And what a case gives autobahn to send is
turned into bytes in one place. No case's octets, expectations or waiting times are touched. Every
edit must match as often as it says, or the port stops.
"""

import re
import sys
import sysconfig
from pathlib import Path

from fissix import refactor

# What of the suite is ported; its other modules are for other tools than the fuzzing ones.
MODULES = ["_version.py", "caseset.py", "fuzzing.py", "case/*.py"]
FIXERS = ["except", "has_key", "import", "print", "raise", "unicode", "xrange"]

INIT = """from ._version import __version__
version = __version__
"""

# What the suite's HTML reports look like; there are none.
REPORT = "CSS_COMMON = CSS_DETAIL_REPORT = CSS_MASTER_REPORT = JS_MASTER_REPORT = ''\n"

OCTETS = '''"""Python 2's str for the ported suite: code points 0 to 255 are octets."""

import binascii


def octets(data):
    return data.encode("latin-1") if isinstance(data, str) else bytes(data)


def plain(data):
    """What Python 2 would have compared: str payloads as their octets."""
    if isinstance(data, (list, tuple)):
        return [plain(item) for item in data]
    return octets(data) if isinstance(data, str) else data


def text(data):
    return data.decode("utf8", "replace") if isinstance(data, bytes) else data


def b2a_hex(data):
    return binascii.b2a_hex(octets(data)).decode("ascii")


hexlify = b2a_hex
'''

SENDING = """   MAX_WIRE_LOG_DATA = 256

   def sendFrame(self, opcode, payload = b"", *args, **kwargs):
      return super().sendFrame(opcode, octets(payload), *args, **kwargs)

   def sendMessage(self, payload, *args, **kwargs):
      return super().sendMessage(octets(payload), *args, **kwargs)

   def sendMessageFrameData(self, payload, *args, **kwargs):
      return super().sendMessageFrameData(octets(payload), *args, **kwargs)

   def sendCloseFrame(self, code = None, reasonUtf8 = None, isReply = False):
      if reasonUtf8 is not None:
         reasonUtf8 = octets(reasonUtf8)
      return super().sendCloseFrame(code, reasonUtf8, isReply)
"""

# The file, below the site's packages: what is replaced, by what, and how often it is there.
EDITS = {
    "autobahntestsuite/case/case.py": [
        ("import pickle", "from autobahntestsuite.octets import plain", 1),
        ("pickle.dumps(obj1) == pickle.dumps(obj2)", "plain(obj1) == plain(obj2)", 1),
    ],
    "autobahntestsuite/case/case6_x_x.py": [
        ("v.validate(vss[:i])", "v.validate(octets.octets(vss[:i]))", 1),
        ("(object, Case, )", "(Case, )", 1),
        ("\nimport binascii\n", "\nfrom autobahntestsuite import octets\nbinascii = octets\n", 2),
    ],
    "autobahntestsuite/case/case7_7_X.py": [("(object, Case, )", "(Case, )", 1)],
    "autobahntestsuite/case/case7_9_X.py": [("(object, Case, )", "(Case, )", 1)],
    "autobahntestsuite/case/case9_7_X.py": [("(object, Case, )", "(Case, )", 1)],
    "autobahntestsuite/case/case9_9_1.py": [
        ("from zope.interface import implements\n", "", 1),
        ("   implements(interfaces.IPushProducer)\n", "", 1),
    ],
    "autobahntestsuite/case/case10_1_1.py": [
        ("len(self.payload) / self.p", "len(self.payload) // self.p", 1),
    ],
    "autobahntestsuite/case/case12_x_x.py": [
        ("(object, Case, )", "(Case, )", 2),
        ("msg = ''", "msg = b''", 1),
    ],
    "autobahntestsuite/fuzzing.py": [
        # Only for wss, which would need a TLS library.
        ("import reactor, ssl", "import reactor", 1),
        (
            "import os, json, binascii, ",
            "from autobahntestsuite import octets as binascii\n"
            "from autobahntestsuite.octets import octets, text\n"
            "import os, json, ",
            1,
        ),
        (
            "dd = data[:maxlen] + ellipses",
            "data = octets(data)\n         dd = data[:maxlen] + ellipses.encode()",
            1,
        ),
        ("         dd = data\n", "         dd = octets(data)\n", 1),
        ("''.join(payload)", "b''.join(payload)", 1),
        (
            '"localCloseReason": self.localCloseReason',
            '"localCloseReason": text(self.localCloseReason)',
            1,
        ),
        (
            '"remoteCloseReason": self.remoteCloseReason',
            '"remoteCloseReason": text(self.remoteCloseReason)',
            1,
        ),
        ("self.http_request_data if", "text(self.http_request_data) if", 1),
        ("self.http_response_data if", "text(self.http_response_data) if", 1),
        ("   MAX_WIRE_LOG_DATA = 256\n", SENDING, 1),
        # The HTML reports are text and octets mixed: JSON only.
        ("produceHtml = True", "produceHtml = False", 1),
    ],
    "autobahn/websocket/protocol.py": [
        ("range(payload_len / len(payload))", "range(payload_len // len(payload))", 1),
    ],
}


def main():
    site = Path(sysconfig.get_paths()["purelib"])
    suite = site / "autobahntestsuite"
    sources = sorted(path for pattern in MODULES for path in suite.glob(pattern))
    for path in sources:
        write(path, as_latin1(read(path)))
    tool = refactor.RefactoringTool(["fissix.fixes.fix_" + name for name in FIXERS])
    for path in sources:
        tool.refactor_file(str(path), write=True)
    if tool.errors:
        sys.exit(f"{tool.errors}")
    for name, edits in EDITS.items():
        write(site / name, edited(name, read(site / name), edits))
    for path in (suite / "case").glob("*.py"):
        ours = "from autobahntestsuite import octets as binascii"
        write(path, re.sub(r"(?m)^import binascii$", ours, read(path)))
    # The suite's own imports all of its tools.
    write(suite / "__init__.py", INIT)
    write(suite / "report.py", REPORT)
    write(suite / "octets.py", OCTETS)


def read(path):
    return path.read_text("latin-1").replace("\r\n", "\n")


def write(path, source):
    path.write_text(source, "latin-1")


def as_latin1(source):
    """Declares the coding as Latin-1, whatever it was."""
    without = re.sub(r"\A(.*\n)??[ \t\f]*#.*coding[:=].*\n", r"\1", source)
    return "# coding=latin-1\n" + without


def edited(name, source, edits):
    for old, new, times in edits:
        if source.count(old) != times:
            sys.exit(f"{old!r} is {source.count(old)} times in {name}, not {times}")
        source = source.replace(old, new)
    return source


main()

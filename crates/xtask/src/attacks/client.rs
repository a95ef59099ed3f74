//! Hostile servers against `chappe connect` (kinds 6, 9, 12 to 15, 24 and 25).
//!
//! A row is the answer to the client's handshake, what follows it, and what the client does: the
//! frames that it sends, and whether it then fails (exit status 1), ends (0) or runs on.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::accept_key::accept_key;
use super::bystander::ROUND_TRIP_MAX;
use super::bytes::bytes_of;
use super::server::{log_file, memory_kib};
use super::tell::header;
use super::wire::{PROMPT, Peer};
use super::{Verdict, is_chosen};
use crate::run::Running;

use Reply::{Edited, Good, Raw};
use Then::{Endless, Finish, Frames, IgnoreClose, Silence};

/// A hostile server's answer to the handshake.
#[derive(Clone, Copy, Debug)]
enum Reply {
    /// A good one.
    Good,
    /// A good one, with these replaced.
    Edited(&'static [(&'static str, &'static str)]),
    /// Something else altogether; `{other}` is the port of a server that nobody should go to.
    Raw(&'static str),
}

/// What a hostile server does after its answer. In the end it waits for the client to leave.
#[derive(Clone, Copy, Debug)]
enum Then {
    Silence,
    /// Sends these bytes, in the words of [`bytes_of`].
    Frames(&'static str),
    /// Sends this for as long as it is taken.
    Endless(&'static str),
    /// Ends its direction of the stream.
    Finish,
    /// Ends the client's standard input, and does not answer the close that comes of it.
    IgnoreClose,
}

type Row = (u8, &'static str, Reply, Then, &'static str);

/// A row, and how long the client may take.
pub(super) struct Hostile {
    topic: u8,
    name: &'static str,
    arguments: &'static [&'static str],
    reply: Reply,
    then: Then,
    expected: &'static str,
    limit: Duration,
}

/// How far a client may grow in all: it is a new process each time.
const MEMORY_KIB_MAX: u64 = 16 * 1024;
const URL: &[&str] = &["ws://127.0.0.1:{port}/"];

pub(super) fn attacks() -> impl Iterator<Item = Hostile> {
    let rows = [ANSWERS, REDIRECTS, FRAMES, ODDITIES].into_iter().flatten();
    let rows = rows.map(|row| hostile(row, PROMPT * 2));
    rows.chain(ARGUMENTS.iter().map(|(name, arguments)| Hostile {
        topic: 6,
        name,
        arguments,
        reply: Good,
        then: Frames("88 02 03e8"),
        expected: "fails | fails by usage | 1000, ends",
        limit: PROMPT * 2,
    }))
}

/// Those that wait for a timeout of the client's.
pub(super) fn patient_attacks() -> impl Iterator<Item = Hostile> {
    PATIENT
        .iter()
        .map(|row| hostile(row, Duration::from_secs(55)))
}

fn hostile(&(topic, name, reply, then, expected): &Row, limit: Duration) -> Hostile {
    Hostile {
        topic,
        name,
        arguments: URL,
        reply,
        then,
        expected,
        limit,
    }
}

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                        Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";
const BYE: Then = Frames("88 02 03e8");

#[rustfmt::skip]
const ANSWERS: &[Row] = &[
    (6, "a good answer", Good, BYE, "1000, ends"),
    (6, "Connection: keep-alive, Upgrade", Edited(&[("n: U", "n: keep-alive, u")]), BYE, "1000, ends"),
    (6, "Upgrade: WebSocket", Edited(&[("websocket", "WebSocket")]), BYE, "1000, ends"),
    (6, "a wrong accept", Edited(&[("{accept}", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]), BYE, "fails"),
    (6, "the accept of the RFC's example", Edited(&[("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]), BYE, "fails"),
    (6, "an empty accept", Edited(&[("{accept}", "")]), BYE, "fails"),
    (6, "an accept and a byte", Edited(&[("{accept}", "{accept}=")]), BYE, "fails"),
    (6, "no accept", Edited(&[("Sec-WebSocket-Accept: {accept}\r\n", "")]), BYE, "fails"),
    (6, "no Upgrade", Edited(&[("Upgrade: websocket\r\n", "")]), BYE, "fails"),
    (6, "Upgrade to something else", Edited(&[("websocket", "h2c")]), BYE, "fails"),
    (6, "no Connection", Edited(&[("Connection: Upgrade\r\n", "")]), BYE, "fails"),
    (6, "Connection: close", Edited(&[("n: Upgrade", "n: close")]), BYE, "fails"),
    (6, "HTTP/1.0", Edited(&[("HTTP/1.1", "HTTP/1.0")]), BYE, "fails"),
    (6, "HTTP/2", Edited(&[("HTTP/1.1", "HTTP/2")]), BYE, "fails"),
    (6, "a status of four digits", Edited(&[("101", "1010")]), BYE, "fails"),
    (6, "status 200", Edited(&[("101 Switching Protocols", "200 OK")]), BYE, "fails"),
    (6, "an extension nobody offered", Edited(&[("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-unknown\r\n\r\n")]), BYE, "fails"),
    (6, "a subprotocol nobody offered", Edited(&[("\r\n\r\n", "\r\nSec-WebSocket-Protocol: x-unknown\r\n\r\n")]), BYE, "fails"),
    (6, "two accepts", Edited(&[("\r\n\r\n", "\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")]), BYE, "fails"),
    (6, "NUL in a header", Edited(&[("\r\n\r\n", "\r\nX: \0\r\n\r\n")]), BYE, "fails"),
    (6, "LF for a line's end", Edited(&[("websocket\r\n", "websocket\n")]), BYE, "fails"),
    (6, "a folded header", Edited(&[("\r\n\r\n", "\r\nX: a\r\n b\r\n\r\n")]), BYE, "fails"),
    (6, "a space before a colon", Edited(&[("Upgrade:", "Upgrade :")]), BYE, "fails"),
    (6, "a header without a colon", Edited(&[("\r\n\r\n", "\r\nX\r\n\r\n")]), BYE, "fails"),
    (6, "an SSH greeting", Raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Silence, "fails"),
    (6, "a TLS alert", Raw("\x15\x03\x01\0\x02\x02\x28\r\n\r\n"), Silence, "fails"),
    (6, "nothing, and an end", Raw(""), Finish, "fails"),
    (6, "half a head, and an end", Raw("HTTP/1.1 101 Swi"), Finish, "fails"),
    (6, "a status line without end", Raw("HTTP/1.1 101 "), Endless("aaaaaaaaaaaaaaaa"), "fails"),
    (6, "a header without end", Raw("HTTP/1.1 101 a\r\nX: "), Endless("aaaaaaaaaaaaaaaa"), "fails"),
    (6, "headers without end", Raw("HTTP/1.1 101 a\r\n"), Endless("X: a\r\n"), "fails"),
    (6, "empty lines without end", Raw(""), Endless("\r\n"), "fails"),
    (6, "interim answers without end", Raw(""), Endless("HTTP/1.1 100 Continue\r\n\r\n"), "fails"),
    (6, "a refusal with a body without end", Raw("HTTP/1.1 404 Not Found\r\nContent-Length: 99999999999\r\n\r\n"), Endless("<html>not here</html>"), "fails"),
    (6, "a refusal with chunks without end", Raw("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"), Endless("5\r\nHello\r\n"), "fails"),
    (6, "a refusal with a body of negative length", Raw("HTTP/1.1 400 Bad Request\r\nContent-Length: -1\r\n\r\n"), Silence, "fails"),
    (6, "a refusal with a body that does not come", Raw("HTTP/1.1 500 Error\r\nContent-Length: 100\r\n\r\n"), Silence, "fails"),
    (6, "401", Raw("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\r\n"), Finish, "fails"),
    (25, "terminal controls in a refusal's reason", Raw("HTTP/1.1 403 \x1b]0;a\x07\x1b[2J\r\n\r\n"), Finish, "fails"),
    (25, "terminal controls in a refusal's body", Raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n\x1b[2J"), Finish, "fails"),
    (25, "terminal controls in a header", Edited(&[("websocket\r\n", "\x1b[2J\r\n")]), Finish, "fails"),
];

/// Nobody may go where these point, whatever it is (WHATWG: no redirects).
#[rustfmt::skip]
const REDIRECTS: &[Row] = &[
    (6, "301 to another server", Raw("HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"), Finish, "fails"),
    (6, "302 to another server, by http", Raw("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"), Finish, "fails"),
    (6, "307 to another server", Raw("HTTP/1.1 307 Temporary\r\nLocation: ws://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"), Finish, "fails"),
    (6, "308 to another server, without a scheme", Raw("HTTP/1.1 308 Permanent\r\nLocation: //127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"), Finish, "fails"),
    (6, "302 to itself", Raw("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), Finish, "fails"),
    (6, "101 with a Location", Edited(&[("\r\n\r\n", "\r\nLocation: ws://127.0.0.1:{other}/\r\n\r\n")]), BYE, "1000, ends"),
];

#[rustfmt::skip]
const FRAMES: &[Row] = &[
    (12, "a ping, and a close", Good, Frames("89 01 \"a\" 88 02 03e8"), "pong \"a\" 1000, ends"),
    (13, "a masked message", Good, Frames("81 85 37fa213d 7f9f4d5158"), "1002, fails"),
    (13, "a message masked by zeros", Good, Frames("81 85 key \"Hello\""), "1002, fails"),
    (13, "a masked ping", Good, Frames("89 80 key"), "1002, fails"),
    (13, "a masked close", Good, Frames("88 82 key 03e8"), "1002, fails"),
    (15, "RSV1", Good, Frames("c1 05 \"Hello\""), "1002, fails"),
    (15, "RSV2", Good, Frames("a1 05 \"Hello\""), "1002, fails"),
    (15, "RSV3 on a ping", Good, Frames("99 00"), "1002, fails"),
    (15, "opcode 3", Good, Frames("83 00"), "1002, fails"),
    (15, "opcode F", Good, Frames("8f 00"), "1002, fails"),
    (15, "a continuation of nothing", Good, Frames("80 05 \"Hello\""), "1002, fails"),
    (15, "a message amid a message", Good, Frames("01 02 \"He\" 81 03 \"llo\""), "1002, fails"),
    (12, "a ping that is a fragment", Good, Frames("09 00"), "1002, fails"),
    (12, "a ping of 126 bytes", Good, Frames("89 7e 007e 61*126"), "1002, fails"),
    (12, "a close of one byte", Good, Frames("88 01 03"), "1002, fails"),
    (12, "a close with code 1005", Good, Frames("88 02 03ed"), "1002, fails"),
    (12, "a close with code 1006", Good, Frames("88 02 03ee"), "1002, fails"),
    (12, "a close with code 5000", Good, Frames("88 02 1388"), "1002, fails"),
    (12, "a close with a reason that is no UTF-8", Good, Frames("88 03 03e8 ff"), "1007, fails | 1002, fails"),
    (12, "an end without a close", Good, Finish, "fails"),
    (9, "2^63 bytes", Good, Frames("82 7f 8000000000000000"), "1002, fails"),
    (9, "2^63 - 1 bytes", Good, Frames("82 7f 7fffffffffffffff"), "1009, fails"),
    (9, "2^40 bytes", Good, Frames("82 7f 0000010000000000"), "1009, fails"),
    (9, "5 bytes, told in two", Good, Frames("81 7e 0005 \"Hello\""), "1002, fails"),
    (9, "a fragment of 2^63 - 1 bytes", Good, Frames("02 01 61 80 7f 7fffffffffffffff"), "1009, fails"),
    (11, "fragments without end", Edited(&[("\r\n\r\n", "\r\n\r\n\x02\0")]), Endless("\0\x01a"), "1009, fails"),
    (11, "empty fragments without end", Edited(&[("\r\n\r\n", "\r\n\r\n\x02\0")]), Endless("\0\0"), "1009, fails"),
    (14, "text that is no UTF-8", Good, Frames("81 01 ff"), "1007, fails"),
    (14, "text that is no UTF-8, and does not end", Good, Frames("81 7e 1000 ff"), "1007, fails"),
    (14, "text cut in a character", Good, Frames("81 02 e282"), "1007, fails"),
];

#[rustfmt::skip]
const ODDITIES: &[Row] = &[
    (25, "terminal controls in a close's reason", Good, Frames("88 0a 03e9 1b 5b324a 07 1b 5b334a"), "1001, fails | 1001, ends"),
    (24, "frames after its close", Good, Frames("88 02 03e8 81 05 \"Hello\" ff*20"), "1000, ends"),
];

#[rustfmt::skip]
const PATIENT: &[Row] = &[
    (6, "no answer", Raw(""), Silence, "fails"),
    (6, "half an answer", Raw("HTTP/1.1 101 Switching"), Silence, "fails"),
    (6, "an answer without its last byte", Raw("HTTP/1.1 101 a\r\nX: a\r\n\r"), Silence, "fails"),
    (16, "never answers a ping", Good, Silence, "ping 1011, fails | ping ping 1011, fails"),
    (24, "never answers a close", Good, IgnoreClose, "1000, fails | 1000, ends | close, ends | close, fails"),
];

/// What a user may be brought to type. Nothing of it may become a header of its own.
#[rustfmt::skip]
const ARGUMENTS: &[(&str, &[&str])] = &[
    ("CR LF in the path", &["ws://127.0.0.1:{port}/a\r\nX-Evil: 1"]),
    ("LF in the path", &["ws://127.0.0.1:{port}/a\nX-Evil: 1"]),
    ("CR LF in the query", &["ws://127.0.0.1:{port}/?a\r\nX-Evil: 1"]),
    ("CR LF and a second request in the path", &["ws://127.0.0.1:{port}/ HTTP/1.1\r\n\r\nGET /X-Evil"]),
    ("CR LF in the host", &["ws://127.0.0.1:{port}\r\nX-Evil: 1/"]),
    ("a space in the path", &["ws://127.0.0.1:{port}/a b"]),
    ("a fragment", &["ws://127.0.0.1:{port}/a#X-Evil"]),
    ("a name and password", &["ws://user:X-Evil@127.0.0.1:{port}/"]),
    ("CR LF in a header", &["ws://127.0.0.1:{port}/", "--header", "A: b\r\nX-Evil: 1"]),
    ("CR LF in a header's name", &["ws://127.0.0.1:{port}/", "--header", "A\r\nX-Evil: 1"]),
    ("CR LF in a subprotocol", &["ws://127.0.0.1:{port}/", "--subprotocol", "a\r\nX-Evil: 1"]),
    ("LF in a subprotocol", &["ws://127.0.0.1:{port}/", "--subprotocol", "a\nX-Evil: 1"]),
    ("a comma in a subprotocol", &["ws://127.0.0.1:{port}/", "--subprotocol", "a, X-Evil"]),
    ("CR LF in the origin", &["ws://127.0.0.1:{port}/", "--origin", "http://a\r\nX-Evil: 1"]),
];

impl Hostile {
    pub(super) fn is_among(&self, words: &[String]) -> bool {
        is_chosen(self.topic, &format!("to a client: {}", self.name), words)
    }

    pub(super) fn perform(self, binary: &Path) -> Verdict {
        let mut peak = 0;
        let actual = self
            .play(binary, &mut peak)
            .unwrap_or_else(|failure| failure);
        Verdict {
            topic: self.topic,
            name: format!("to a client: {}", self.name),
            expected: self.expected.to_owned(),
            actual,
            growth_kib: (peak, MEMORY_KIB_MAX),
            round_trip: None,
            round_trip_max: ROUND_TRIP_MAX,
        }
    }

    fn play(&self, binary: &Path, peak: &mut u64) -> Result<String, String> {
        let listener = bind().map_err(|error| error.to_string())?;
        // Where a redirect points to, and nobody should come.
        let other = bind().map_err(|error| error.to_string())?;
        let port = |listener: &TcpListener| listener.local_addr().map_or(0, |a| a.port());
        let mut client = Client::start(binary, self.arguments, port(&listener))?;
        let mut told = String::new();
        if let Some(mut peer) = client.await_connection(&listener) {
            told = self.exchange(&mut peer, port(&other), &mut client);
            // The connection is held until the client has left.
            client.wait(self.limit);
        }
        *peak = client.peak.load(Ordering::Relaxed);
        let mut outcome = client.outcome(self.limit);
        if other.accept().is_ok() {
            outcome.push_str(" after it went elsewhere");
        }
        if listener.accept().is_ok() {
            outcome.push_str(" after it came again");
        }
        Ok(if told.is_empty() {
            outcome
        } else {
            format!("{told}, {outcome}")
        })
    }

    /// Answers, does what follows, and tells which frames came.
    fn exchange(&self, peer: &mut Peer, other: u16, client: &mut Client) -> String {
        let Some(head) = peer.read_head(PROMPT) else {
            return "no request".to_owned();
        };
        if is_injected(&head) {
            return "injected".to_owned();
        }
        let accept = accept_key(&header(&head, "Sec-WebSocket-Key").unwrap_or_default());
        let mut reply = match self.reply {
            Good | Edited(_) => ACCEPTED.to_owned(),
            Raw(text) => text.to_owned(),
        };
        if let Edited(edits) = self.reply {
            for (old, new) in edits {
                reply = reply.replacen(old, new, 1);
            }
        }
        let reply = reply
            .replace("{accept}", &accept)
            .replace("{other}", &other.to_string());
        let mut bytes = reply.into_bytes();
        if let Frames(words) = self.then {
            bytes.extend(bytes_of(words));
        }
        let _ = peer.send(&bytes);
        match self.then {
            Endless(unit) => {
                let many = unit.as_bytes().repeat(64);
                peer.send_until_refused(&many, Duration::from_micros(100), PROMPT * 2);
            }
            Finish => peer.finish(),
            IgnoreClose => client.end_input(),
            Silence | Frames(_) => {}
        }
        if !matches!(self.then, IgnoreClose) && peer.read_until_close(self.limit) {
            // It is the server that closes the stream first (RFC 6455, section 7.1.1).
            peer.finish();
        }
        match peer.answer(self.limit) {
            told if told == "closed" => String::new(),
            told => told,
        }
    }
}

/// Whether a line of the request, or the secret of a URL, is of the attacker's making.
fn is_injected(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split(['\r', '\n']);
    let request_line = lines.next().unwrap_or_default();
    request_line.split(' ').count() != 3
        || request_line.contains('#')
        || lines.any(|line| line.contains("X-Evil"))
}

fn bind() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// `chappe connect` with its standard input kept open.
struct Client {
    running: Running,
    log: PathBuf,
    peak: Arc<AtomicU64>,
    status: Option<ExitStatus>,
}

impl Client {
    fn start(binary: &Path, arguments: &[&str], port: u16) -> Result<Self, String> {
        let (log, file) = log_file("client")?;
        let port = port.to_string();
        let mut command = Command::new(binary);
        command.arg("connect");
        command.args(
            arguments
                .iter()
                .map(|argument| argument.replace("{port}", &port)),
        );
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file);
        let running = Running::start(&mut command)?;
        let peak = Arc::new(AtomicU64::new(0));
        let (id, shared) = (running.id(), Arc::clone(&peak));
        // A process that has ended has no memory, which ends the thread.
        thread::spawn(move || {
            while let Some(kib) = memory_kib(id, "VmHWM:") {
                shared.store(kib, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        });
        Ok(Self {
            running,
            log,
            peak,
            status: None,
        })
    }

    /// The first connection, if the client makes one before it ends.
    fn await_connection(&mut self, listener: &TcpListener) -> Option<Peer> {
        let end = Instant::now() + PROMPT;
        while Instant::now() < end {
            if let Ok((stream, _)) = listener.accept() {
                return stream
                    .set_nonblocking(false)
                    .and_then(|()| Peer::new(stream))
                    .ok();
            }
            if self.wait(Duration::from_millis(2)) {
                return None;
            }
        }
        None
    }

    /// Waits for the end. False when the time is up first.
    fn wait(&mut self, limit: Duration) -> bool {
        self.status = self.status.or_else(|| self.running.wait(limit));
        self.status.is_some()
    }

    fn end_input(&mut self) {
        self.running.end_input();
    }

    fn outcome(&mut self, limit: Duration) -> String {
        self.wait(limit);
        let mut outcome = match self.status.map(|status| status.code()) {
            Some(Some(0)) => "ends",
            Some(Some(1)) => "fails",
            Some(Some(2)) => "fails by usage",
            Some(_) => "breaks down",
            None => "runs on",
        }
        .to_owned();
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        if said.contains("panicked") {
            outcome.push_str(" by a panic");
        }
        if said.chars().any(|c| c.is_control() && c != '\n') {
            outcome.push_str(" and lets controls through");
        }
        outcome
    }
}

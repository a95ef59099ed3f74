//! `chappe connect` with `chappe serve`: what is shown, and the exit code.

use chappe_interop::{Finished, Process, chappe, within};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::process::Command;

#[tokio::test]
async fn connect_sends_lines_and_shows_messages() {
    let server = Serve::start().await;
    let finished = server.connect(&[], "hello\ngrüezi 👋\n\n//ping\n").await;
    let shown = ["hello", "grüezi 👋", "", "/ping"];
    assert_eq!(finished, success(&shown, ""));
}

#[tokio::test]
async fn connect_shows_events_as_json() {
    let server = Serve::start().await;
    let arguments = ["--json", "--subprotocol", "chat"];
    let finished = server
        .connect(&arguments, "grüezi 👋\n/ping\n/close 3001 enough\n")
        .await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    let mut events: Vec<Value> = finished.stdout.iter().map(|line| untimed(line)).collect();
    let pong = events
        .iter()
        .position(|event| event["event"] == "pong")
        .map(|index| events.remove(index))
        .expect("the ping is answered");
    assert!(pong["round_trip_ms"].as_f64() > Some(0.0), "{pong}");
    let url = server.url("/echo");
    let text = "grüezi 👋";
    let sent = json!({ "code": 3001, "reason": "enough" });
    let expected = [
        json!({ "event": "open", "url": url, "subprotocol": "chat" }),
        json!({ "event": "message", "kind": "text", "size": text.len(), "data": text }),
        json!({
            "event": "closed",
            "clean": true,
            "by": "us",
            "code": 3001,
            "reason": "enough",
            "sent": sent,
            "received": { "code": 3001, "reason": "" },
            "error": null,
        }),
    ];
    assert_eq!(events, expected);
}

/// An event without the time, which every event has.
fn untimed(line: &str) -> Value {
    let mut event: Value = serde_json::from_str(line).expect("every line is JSON");
    let object = event.as_object_mut().expect("every event is an object");
    let time = object.remove("time_ms").and_then(|time| time.as_u64());
    assert!(time > Some(1_700_000_000_000), "{line}");
    event
}

#[tokio::test]
async fn connect_pings() {
    let server = Serve::start().await;
    let finished = server.connect(&[], "/ping\n").await;
    assert_eq!((finished.code, finished.stdout.len()), (Some(0), 0));
    let round_trip = finished
        .stderr
        .strip_prefix("pong after ")
        .and_then(|rest| rest.strip_suffix(" ms\n"))
        .and_then(|number| number.parse::<f64>().ok());
    assert!(round_trip > Some(0.0), "{finished:?}");
}

#[tokio::test]
async fn connect_closes_as_it_is_told() {
    let server = Serve::start().await;
    for line in ["/close\n", "/close 1000 bye\n", "/close 4999\n", ""] {
        let finished = server.connect(&[], line).await;
        assert_eq!(finished, success(&[], ""), "{line:?}");
    }
    // 1006 must not be sent, and what follows is still done; but not all that was asked for was.
    let finished = server.connect(&[], "/close 1006\nhello\n").await;
    assert_eq!(
        (finished.code, finished.stdout),
        (Some(1), lines(&["hello"]))
    );
    assert!(finished.stderr.contains("1006"), "{}", finished.stderr);
}

#[tokio::test]
async fn connect_explains_a_refused_handshake() {
    let server = Serve::start().await;
    let finished = start(&[&server.url("/nowhere")]).finish().await;
    assert_eq!((finished.code, finished.stdout.len()), (Some(1), 0));
    let url = server.url("/nowhere");
    let expected = [
        &format!("chappe: no connection to {url}"),
        &format!("  asked:    {url} as a WebSocket"),
        "  answered: 404 Not Found",
        "            there is no WebSocket at this path; there is one at /echo",
        "  usually:  there is no WebSocket at this path",
    ];
    assert_eq!(
        lines(&finished.stderr.lines().collect::<Vec<_>>()),
        lines(&expected)
    );

    let finished = start(&["--json", &url]).finish().await;
    assert_eq!(finished.code, Some(1));
    let error = "opening handshake failed: server answered with status 404 Not Found, not 101";
    let events: Vec<Value> = finished.stdout.iter().map(|line| untimed(line)).collect();
    assert_eq!(events, [json!({ "event": "failed", "error": error })]);
}

#[tokio::test]
async fn connect_explains_that_nobody_listens() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().expect("there is a socket");
    let any = "127.0.0.1:0".parse().expect("it is an address");
    socket.bind(any).expect("there is a free port");
    let address = socket.local_addr().expect("it is bound");
    let finished = start(&[&format!("ws://{address}/")]).finish().await;
    assert_eq!(finished.code, Some(1));
    let words = "nothing listens on that port";
    assert!(finished.stderr.contains(words), "{}", finished.stderr);
}

#[tokio::test]
async fn connect_explains_wrong_usage() {
    let rows = [
        (&["ftp://127.0.0.1/"][..], 1, "ws or wss"),
        (&["wss://127.0.0.1/"], 1, "TLS"),
        (&[], 2, "Usage"),
        (&["--header", "none", "ws://127.0.0.1/"], 2, "Name: value"),
    ];
    for (arguments, code, words) in rows {
        let finished = start(arguments).finish().await;
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn connect_fails_when_the_server_dies() {
    let mut server = Serve::start().await;
    let mut client = server.talk().await;
    server.process.kill().await;
    let finished = client_end(&mut client).await;
    assert_eq!(finished["clean"], false);
    assert_eq!(
        (&finished["by"], &finished["code"]),
        (&json!("peer"), &json!(1006))
    );
    assert_eq!(client.finish().await.code, Some(1));
}

#[tokio::test]
async fn connect_succeeds_when_the_server_stops() {
    let server = Serve::start().await;
    let mut client = server.talk().await;
    server.stop().await;
    let finished = client_end(&mut client).await;
    assert_eq!(finished["clean"], true);
    assert_eq!(
        (&finished["by"], &finished["code"]),
        (&json!("peer"), &json!(1001))
    );
    assert_eq!(client.finish().await.code, Some(0));
}

/// The event that tells of the end. The input is still open: the client ends without its end.
async fn client_end(client: &mut Process) -> Value {
    let event = untimed(&client.line().await);
    assert_eq!(event["event"], "closed");
    event
}

/// A running `chappe serve`.
struct Serve {
    process: Process,
    address: String,
}

impl Serve {
    async fn start() -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--shards", "1"];
        let mut process = Process::start(chappe().args(arguments));
        let line = process.line().await;
        let (_, address) = line
            .split_once("http://")
            .expect("the first line tells the address");
        Self {
            address: address.to_owned(),
            process,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// Runs `chappe connect` to its end with the echo, typing `input`.
    async fn connect(&self, arguments: &[&str], input: &str) -> Finished {
        let mut client = start(&[arguments, &[&self.url("/echo")]].concat());
        client.write(input).await;
        client.finish().await
    }

    /// Starts a `chappe connect` with a connection that is open and has been used.
    async fn talk(&self) -> Process {
        let mut client = start(&["--json", &self.url("/echo")]);
        client.write("hello\n").await;
        for event in ["open", "message"] {
            assert_eq!(untimed(&client.line().await)["event"], event);
        }
        client
    }

    /// Asks it to stop, and waits for its end.
    async fn stop(self) {
        let id = self.process.id().expect("it runs").to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status();
        let status = within("kill", killed).await.expect("there is a kill");
        assert!(status.success());
        assert_eq!(self.process.finish().await.code, Some(0));
    }
}

/// Starts `chappe connect`.
fn start(arguments: &[&str]) -> Process {
    Process::start(chappe().arg("connect").args(arguments))
}

fn success(stdout: &[&str], stderr: &str) -> Finished {
    Finished {
        code: Some(0),
        stdout: lines(stdout),
        stderr: stderr.to_owned(),
    }
}

fn lines(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

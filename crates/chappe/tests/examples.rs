//! Runs the examples as their headers say, and looks for what they say will be seen.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// An example that was built with the tests; it is ended with the test.
struct Example {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Example {
    fn start(name: &str, argument: &str) -> Self {
        let test = std::env::current_exe().expect("a test has a file");
        let folder: PathBuf = test.parent().and_then(|deps| deps.parent()).unwrap().into();
        let program = folder.join("examples").join(name);
        let process = Command::new(&program)
            .arg(argument)
            .stdout(Stdio::piped())
            .spawn();
        let mut process = process.unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo build -p chappe --examples` builds it",
                program.display()
            )
        });
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The URL that ends a server's first line.
    fn url(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let url = line.trim_end().rsplit(' ').next().unwrap();
        assert!(
            url.starts_with("ws://127.0.0.1:"),
            "expected a URL, got {line:?}"
        );
        url.to_owned()
    }

    /// All lines of one that ends by itself, and well.
    fn lines(mut self) -> Vec<String> {
        let lines: Vec<String> = (&mut self.output).lines().map(Result::unwrap).collect();
        assert!(
            self.process.wait().unwrap().success(),
            "it failed after {lines:?}"
        );
        lines
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn client_talks_to_echo() {
    let mut echo = Example::start("echo", "127.0.0.1:0");
    let url = echo.url();
    let lines = Example::start("client", &url).lines();
    let connected = format!("connected to {url}");
    assert_eq!(lines[..3], [&connected, "text: hello", "text: grüezi 👋"]);
    assert_eq!(lines[3], r#"binary: b"\x01\x02\x03""#);
    assert!(lines[4].starts_with("a round trip takes "), "{}", lines[4]);
    let closed = "closed: closed by this side: 1000 (normal closure): \"that was all\"";
    assert_eq!(lines[5..], [closed]);
}

#[test]
fn blocking_talks_to_echo() {
    let mut echo = Example::start("echo", "127.0.0.1:0");
    let lines = Example::start("blocking", &echo.url()).lines();
    let closed = "closed by this side: 1000 (normal closure): \"that was all\"";
    assert_eq!(lines, ["text: hello", closed]);
}

#[tokio::test]
async fn broadcast_sends_to_all() {
    let mut broadcast = Example::start("broadcast", "127.0.0.1:0");
    let url = broadcast.url();
    let mut listeners = Vec::new();
    for _ in 0..3 {
        let ws = chappe::connect(&url).await.unwrap();
        ws.ping().await.unwrap(); // its handler runs
        listeners.push(ws);
    }
    for text in ["one", "two"] {
        listeners[0].send(text).await.unwrap();
        for (index, listener) in listeners.iter_mut().enumerate() {
            let message = listener.recv().await.unwrap();
            assert_eq!(message, Some(text.into()), "listener {index}");
        }
    }
}

//! A `chappe serve` of a test's own: how it is started, asked and ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn chappe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chappe"));
    command
        .args(arguments)
        .env_remove("CHAPPE_LOG")
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    chappe(arguments).output().unwrap()
}

/// A server on a port that was free; it is ended with the test.
pub(crate) struct Server {
    pub(crate) process: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(shards: &str) -> Self {
        Self::start_by(&mut chappe(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--shards",
            shards,
        ]))
    }

    /// Starts one after the shell has done something.
    pub(crate) fn start_after(first: &str, shards: &str) -> Self {
        Self::start_by(&mut chappe_after(first, shards))
    }

    pub(crate) fn start_by(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (_, address) = line.trim_end().split_once("http://").unwrap();
        Self {
            address: address.to_owned(),
            process,
        }
    }

    /// Sends a request and nothing more, and reads until the server closes.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream
            .write_all(request.replace('\n', "\r\n").as_bytes())
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\nHost: localhost\n\n"))
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/echo", self.address)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let kill = Command::new("kill").args([signal, &id]).status();
        assert!(kill.unwrap().success());
    }

    /// Connects and does the handshake, as bytes.
    pub(crate) fn open(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(UPGRADE.as_bytes()).unwrap();
        let head = read_until(&mut stream, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream
    }

    /// Asks it to stop; gives its exit code and what it logged.
    pub(crate) fn stop(self) -> (Option<i32>, String) {
        self.signal("-TERM");
        self.end()
    }

    /// Waits for its end; gives its exit code and what it logged.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.process
            .stderr
            .as_mut()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (self.process.wait().unwrap().code(), log)
    }
}

pub(crate) const UPGRADE: &str = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Version: 13\r\n\r\n";

pub(crate) fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut received = String::new();
    while !received.ends_with(end) {
        let mut bytes = [0; 1_000];
        let length = stream.read(&mut bytes).unwrap();
        assert_ne!(length, 0, "closed after {received}");
        received += std::str::from_utf8(&bytes[..length]).unwrap();
    }
    received
}

/// `chappe serve`, to be started by a shell after something else.
pub(crate) fn chappe_after(first: &str, shards: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{first}; exec \"$0\" \"$@\"");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_chappe")])
        .args(["serve", "--listen", "127.0.0.1:0", "--shards", shards])
        .env_remove("CHAPPE_LOG")
        .stdin(Stdio::null());
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

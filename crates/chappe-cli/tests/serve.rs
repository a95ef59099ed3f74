//! `chappe serve` as its users meet it: what it prints, what it answers, how it ends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Server, UPGRADE, chappe, chappe_after, read_until, run};

#[test]
fn page_and_its_files_come_with_a_policy() {
    let server = Server::start("1");
    let rows = [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/page.css", "text/css; charset=utf-8", ":root"),
        ("/page.js", "text/javascript; charset=utf-8", "import "),
        ("/icon.svg", "image/svg+xml", "<svg"),
    ];
    for (path, kind, content) in rows {
        let response = server.get(path);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
        assert!(
            head.contains(&format!("content-type: {kind}\r\n")),
            "{path}: {head}"
        );
        assert!(
            head.contains("content-security-policy: default-src 'none';"),
            "{path}: {head}"
        );
        assert!(
            head.contains("x-content-type-options: nosniff\r\n"),
            "{path}: {head}"
        );
        assert!(body.contains(content), "{path} should contain {content}");
    }
}

#[test]
fn what_is_not_the_page_is_answered_in_words() {
    let server = Server::start("1");
    let rows = [
        (
            "GET /nowhere HTTP/1.1\nHost: localhost\n\n",
            "404",
            "there is a page at /",
        ),
        (
            "GET /echo HTTP/1.1\nHost: localhost\n\n",
            "426",
            "/echo speaks WebSocket",
        ),
        (
            "POST / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n",
            "405",
            "GET it",
        ),
        (
            "GET / HTTP/1.1\nHost: evil.example\n\n",
            "403",
            "host \"evil.example\" is not a name",
        ),
        ("GET / HTTP/1.1\n\n", "400", "header Host is missing"),
        (
            "GET / HTTP/1.1\nHost: localhost\nOrigin: http://evil.example\n\n",
            "403",
            "cross-origin requests",
        ),
    ];
    for (request, status, words) in rows {
        let response = server.ask(request);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}{response}"
        );
        let head = response.to_ascii_lowercase();
        assert!(
            head.contains("\r\nconnection: close"),
            "{request}{response}"
        );
        assert!(
            response.contains(words),
            "{request} should be told {words:?}, got {response}"
        );
    }
}

#[test]
fn client_that_ends_its_side_gets_its_answer_each_time() {
    let server = Server::start("2");
    for _ in 0..300 {
        let response = server.get("/icon.svg");
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.ends_with("</svg>\n"), "{response}");
    }
}

#[test]
fn health_checks_are_answered() {
    let server = Server::start("1");
    let rows = [
        ("OPTIONS / HTTP/1.0\nHost: localhost\n\n", true),
        ("OPTIONS / HTTP/1.1\nHost: localhost\n\n", true),
        ("GET / HTTP/1.0\nHost: localhost\n\n", true),
        ("HEAD / HTTP/1.1\nHost: localhost\n\n", false),
    ];
    for (request, has_body) in rows {
        let response = server.ask(request);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 OK\r\n"), "{request}{head}");
        assert!(head.contains("content-length: "), "{request}{head}");
        assert_eq!(!body.is_empty(), has_body, "{request}{response}");
    }
    let refused = server.ask("HEAD / HTTP/1.1\nHost: evil.example\n\n");
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.ends_with("\r\n\r\n"), "{refused}");
}

#[test]
fn connection_serves_requests_and_then_a_websocket() {
    let server = Server::start("1");
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let get = "GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let body = "GET /icon.svg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
    let mut last = String::new();
    for (request, end) in [(get, "</svg>\n"), (body, "</svg>\n"), (UPGRADE, "\r\n\r\n")] {
        stream.write_all(request.as_bytes()).unwrap();
        last = read_until(&mut stream, end);
    }
    assert!(last.starts_with("HTTP/1.1 101 "), "{last}");
    stream.write_all(b"\x81\x80\0\0\0\0").unwrap();
    let mut echo = [0; 2];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(echo, *b"\x81\0");
}

#[test]
fn request_whose_end_is_not_known_is_the_last_of_its_connection() {
    let server = Server::start("1");
    let second = "GET /icon.svg HTTP/1.1\nHost: evil.example\n\n";
    for first in [
        "GET /icon.svg HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n0\n\n",
        "GET /icon.svg HTTP/1.1\nHost: localhost\nContent-Length: 4\nContent-Length: 4\n\nbody",
    ] {
        // Nobody but the HTTP stack would see the second, nor check its host.
        let response = server.ask(&format!("{first}{second}"));
        let answers = response.matches("HTTP/1.1 ").count();
        assert_eq!(answers, 1, "{first}: {response}");
        assert!(
            response.to_lowercase().contains("connection: close"),
            "{response}"
        );
    }
}

#[test]
fn websocket_elsewhere_than_at_echo_is_refused() {
    let server = Server::start("1");
    let response = server.ask(
        "GET /chat HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\n\n",
    );
    assert!(
        response.starts_with("HTTP/1.1 404 Not Found\r\nConnection: close\r\n"),
        "{response}"
    );
    assert!(response.ends_with("there is one at /echo\n"), "{response}");
}

#[test]
fn connections_on_all_shards_are_closed_with_1001_at_the_end() {
    let server = Server::start("3");
    let mut clients: Vec<Child> = (0..6)
        .map(|_| {
            let mut command = chappe(&["connect", "--json", &server.url()]);
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut outputs: Vec<_> = clients
        .iter_mut()
        .map(|client| BufReader::new(client.stdout.take().unwrap()))
        .collect();
    for output in &mut outputs {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains(r#""event":"open""#), "{line}");
    }
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("accepted: 6"), "{log}");
    for (client, output) in clients.iter_mut().zip(outputs) {
        let last = output.lines().last().unwrap().unwrap();
        assert!(
            last.contains(r#""by":"peer","clean":true,"code":1001"#),
            "{last}"
        );
        assert_eq!(client.wait().unwrap().code(), Some(0), "a clean close");
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_the_cure() {
    let server = Server::start("1");
    let output = run(&["serve", "--listen", &server.address]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("another program listens on it"), "{words}");
    assert!(
        words.contains("chappe serve --listen 127.0.0.1:"),
        "{words}"
    );
}

#[test]
fn a_bad_address_is_told_with_the_cure() {
    let rows = [
        ("localhost", "such as 127.0.0.1:8000"),
        ("127.0.0.1", "such as 127.0.0.1:8000"),
        ("127.0.0.1:65536", "such as 127.0.0.1:8000"),
    ];
    for (address, words) in rows {
        let output = run(&["serve", "--listen", address]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{address}");
        assert!(said.contains(words), "{address}: {said}");
    }
    // An address for documentation, which no machine has (RFC 5737).
    let output = run(&["serve", "--listen", "192.0.2.1:8000"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("this machine does not have that address"),
        "{said}"
    );
}

#[test]
fn address_is_free_while_the_last_connections_are_waited_for() {
    let mut server = Server::start("3");
    let mut client = server.open();
    server.signal("-TERM");
    let mut close = [0; 4];
    client.read_exact(&mut close).unwrap();
    assert_eq!(close[0], 0x88, "a close frame");
    assert_eq!(close[2..], 1001_u16.to_be_bytes());
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::yield_now();
    }
    let successor = Server::start_by(&mut chappe(&["serve", "--listen", &server.address]));
    assert!(
        server.process.try_wait().unwrap().is_none(),
        "it waits for its client"
    );
    drop(client);
    assert_eq!(server.end().0, Some(0));
    drop(successor);
}

#[test]
fn hangup_stops_it_gracefully_unless_it_is_to_be_ignored() {
    let server = Server::start("2");
    let mut client = server.open();
    server.signal("-HUP");
    let mut close = [0; 4];
    client.read_exact(&mut close).unwrap();
    assert_eq!(close[2..], 1001_u16.to_be_bytes());
    // Both the shell and the kernel tell it, but nobody insists.
    server.signal("-HUP");
    drop(client);
    assert_eq!(server.end().0, Some(0));

    let server = Server::start_after("trap '' HUP", "2");
    server.signal("-HUP");
    drop(server.open());
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn too_few_descriptors_are_told_with_the_cure() {
    let rows = [
        (64, "32", "for 32 shards", Some("--shards 4")),
        (64, "5", "for 5 shards", Some("--shards 4")),
        (40, "1", "for 1 shard", None),
    ];
    for (limit, shards, words, cure) in rows {
        let mut command = chappe_after(&format!("ulimit -n {limit}"), shards);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("limit of {limit} open files")),
            "{said}"
        );
        assert!(said.contains(words), "{said}");
        assert!(said.contains("ulimit -n "), "{said}");
        assert_eq!(said.contains("--shards"), cure.is_some(), "{said}");
        assert!(cure.is_none_or(|cure| said.contains(cure)), "{said}");
    }
}

#[test]
fn who_finds_no_descriptor_left_is_told_503() {
    // No shard has more descriptors to spare than it must have.
    for (limit, shards) in [(45, "1"), (60, "4"), (160, "24")] {
        let server = Server::start_after(&format!("ulimit -n {limit}"), shards);
        let mut clients = Vec::new();
        let mut refused = 0;
        let begin = Instant::now();
        while refused < 8 {
            let mut client = TcpStream::connect(&server.address).unwrap();
            client.write_all(UPGRADE.as_bytes()).unwrap();
            let mut status = [0; 12];
            client.read_exact(&mut status).unwrap();
            refused += usize::from(status.ends_with(b"503"));
            clients.push(client);
        }
        assert!(clients.len() > 8, "{limit} for {shards} took nobody");
        assert!(clients.len() < limit, "of {limit}");
        // Each of those refused holds a descriptor for a second: else they had waited for each other.
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{limit} for {shards}"
        );
        drop(clients);
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}

/// Has a server log more than a pipe and the queue hold.
fn have_much_logged(server: &Server) {
    let host = "x".repeat(200);
    for _ in 0..2_500 {
        let response = server.ask(&format!("GET / HTTP/1.1\nHost: {host}\n\n"));
        assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    }
}

#[test]
fn log_that_nobody_reads_holds_up_nothing() {
    let mut command = chappe(&["serve", "--listen", "127.0.0.1:0", "--shards", "1"]);
    let mut server = Server::start_by(command.env("CHAPPE_LOG", "debug"));
    have_much_logged(&server);
    server.signal("-TERM");
    // The pipe is still full.
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn log_lines_that_were_lost_are_told() {
    let mut command = chappe(&["serve", "--listen", "127.0.0.1:0", "--shards", "1"]);
    let server = Server::start_by(command.env("CHAPPE_LOG", "debug"));
    have_much_logged(&server);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("log lines were lost"), "{log}");
}

#[test]
fn output_that_takes_nothing_is_no_reason_not_to_serve() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut command = chappe(&["serve", "--listen", "127.0.0.1:0", "--shards", "1"]);
    let command = command.stdout(full.unwrap()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (_, rest) = line.split_once(r#""address":""#).expect(&line);
    let (address, _) = rest.split_once('"').unwrap();
    let server = Server {
        address: address.to_owned(),
        process,
    };
    assert!(server.get("/").starts_with("HTTP/1.1 200 OK"));
}

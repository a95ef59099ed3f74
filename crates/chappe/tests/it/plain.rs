//! Plain HTTP on a server's port, and what may follow it on the same connection.

use chappe::{Refusal, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::endpoint::{REQUEST, echo};
use crate::frame::{self, Frame};
use crate::running::{Client, PLAIN, run, server, server_of_paths};

#[tokio::test]
async fn plain_requests_go_to_the_http_stack_whole_and_without_delay() {
    let server = server().await.http(|mut plain| async move {
        assert!(
            plain.get_ref().nodelay().unwrap(),
            "small responses would wait"
        );
        let mut request = String::new();
        plain.read_to_string(&mut request).await.unwrap();
        plain.write_all(request.as_bytes()).await.unwrap();
        plain.shutdown().await.unwrap();
        Some(plain)
    });
    let running = run(server, echo);
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
    let mut client = Client::new(running.address).await;
    client.send(request).await;
    assert_eq!(client.rest().await, request, "it ends with the body");
    let mut other = Client::open(running.address).await;
    other.send(frame::text("hello")).await;
    assert_eq!(
        other.frame().await,
        Frame::text("hello"),
        "on the same port"
    );
    assert_eq!(running.watch.counters().http, 1);
    drop(other);
    running.stop().await;
}

#[tokio::test]
async fn later_request_on_a_connection_may_ask_for_a_websocket() {
    let running = run(server_of_paths().await, echo);
    // One after the other, and all in one piece.
    for pieces in [
        [PLAIN, PLAIN, REQUEST].to_vec(),
        vec![&[PLAIN, PLAIN, REQUEST].concat()],
    ] {
        let mut client = Client::new(running.address).await;
        let mut heads = Vec::new();
        for piece in &pieces {
            client.send(piece).await;
            if pieces.len() > 1 {
                heads.push(client.head().await);
            }
        }
        while heads.len() < 3 {
            heads.push(client.head().await);
        }
        assert!(heads[0].contains("Path: /plain"), "{heads:?}");
        assert!(heads[1].contains("Path: /plain"), "{heads:?}");
        assert!(heads[2].starts_with("HTTP/1.1 101 "), "{heads:?}");
        client.send(frame::text("hello")).await;
        assert_eq!(client.frame().await, Frame::text("hello"));
        assert_eq!(
            running.watch.connections(),
            1,
            "its slot is one all the time"
        );
        client.send(frame::close(1000, "")).await;
        assert_eq!(client.frame().await, Frame::close(1000, ""));
        assert_eq!(client.rest().await, "");
        drop(client);
        running.connections(0).await;
    }
    let counters = running.watch.counters();
    assert_eq!((counters.accepted, counters.http), (2, 4));
    running.stop().await;
}

#[tokio::test]
async fn later_request_is_refused_like_a_first_one() {
    let check = |request: &Request| match request.uri().path() {
        "/chat" => Ok(()),
        _ => Err(Refusal::Application {
            status: http::StatusCode::NOT_FOUND,
            text: "no".into(),
        }),
    };
    let running = run(server_of_paths().await.check(check), echo);
    let rows = [
        (REQUEST.replace("chat", "other"), 404, "application"),
        (REQUEST.replace("localhost", "evil.example"), 403, "host"),
        (PLAIN.replace("localhost", "evil.example"), 403, "host"),
        (
            REQUEST.replace("Host:", "Origin: https://evil.example\r\nHost:"),
            403,
            "origin",
        ),
        (format!("{REQUEST}early"), 400, "early_data"),
        (PLAIN.replace("\r\n", "\n"), 400, "bare_lf"),
    ];
    for (request, status, name) in rows {
        let before = running.watch.counters().refused.get(name).copied();
        let mut client = Client::new(running.address).await;
        client.send(format!("{PLAIN}{request}")).await;
        assert!(client.head().await.contains("Path: /plain"));
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        client.stream.shutdown().await.unwrap();
        client.rest().await;
        running.connections(0).await;
        let after = running.watch.counters().refused.get(name).copied();
        assert_eq!(after.unwrap_or(0), before.unwrap_or(0) + 1, "{name}");
    }
    running.stop().await;
}

#[tokio::test]
async fn connection_that_can_not_go_on_is_closed_after_the_answer() {
    let running = run(server_of_paths().await, echo);
    let more = |header: &str| PLAIN.replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"));
    let rows = [
        more("Connection: close"),
        PLAIN.replace("HTTP/1.1", "HTTP/1.0"),
        more("Content-Length: 4") + "body",
        more("Transfer-Encoding: chunked") + "0\r\n\r\n",
    ];
    for request in rows {
        let mut client = Client::new(running.address).await;
        // What follows is not read as a request.
        client.send(format!("{request}{REQUEST}")).await;
        let head = client.head().await;
        assert!(head.contains("Path: /plain"), "{head} to {request}");
        assert_eq!(client.rest().await, "", "after {request}");
    }
    assert_eq!(running.watch.counters().accepted, 0);
    running.stop().await;
}

#[tokio::test]
async fn refused_head_request_gets_no_body() {
    let running = run(server().await, echo);
    let rows = [
        (PLAIN.replace("GET", "HEAD"), 426),
        (
            PLAIN
                .replace("GET", "HEAD")
                .replace("localhost", "evil.example"),
            403,
        ),
        (REQUEST.replace("GET", "HEAD"), 405),
    ];
    for (request, status) in rows {
        let mut client = Client::new(running.address).await;
        client.send(&request).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("Content-Length: "), "{head}");
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.rest().await, "", "to {request}");
    }
    running.stop().await;
}

//! The server, over real sockets: caps, counts, shutting down.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::time::Duration;

use chappe::{Refusal, Request, Server, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::endpoint::{REQUEST, echo, limits};
use crate::frame::{self, Frame};
use crate::running::{Client, PLAIN, run, server, server_of_paths};

fn counts(names: &[(&'static str, u64)]) -> BTreeMap<&'static str, u64> {
    names.iter().copied().collect()
}

#[tokio::test]
async fn server_runs_the_handler_for_each_connection() {
    let running = run(server().await, echo);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::open(running.address).await);
    }
    assert_eq!(running.watch.connections(), 10);
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(frame::text(&number.to_string())).await;
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.frame().await, Frame::text(&number.to_string()));
    }
    drop(clients);
    running.connections(0).await;
    running.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_cap_are_answered_with_503() {
    let running = run(server().await.connections_max(2), echo);
    let mut first = Client::open(running.address).await;
    // A connection in its handshake counts too.
    let second = Client::new(running.address).await;
    running.connections(2).await;
    for _ in 0..3 {
        let mut third = Client::new(running.address).await;
        let head = third.head().await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(
            third.rest().await,
            "too many connections; try again later\n"
        );
    }
    first.send(frame::text("hello")).await;
    assert_eq!(
        first.frame().await,
        Frame::text("hello"),
        "others are not affected"
    );
    drop(second);
    running.connections(1).await;
    drop(Client::open(running.address).await);
    assert_eq!(running.watch.counters().refused.get("full"), Some(&3));
    drop(first);
    running.stop().await;
}

#[tokio::test]
async fn cap_per_address_does_not_count_loopback() {
    let running = run(server().await.connections_per_address_max(1), echo);
    let clients = [
        Client::open(running.address).await,
        Client::open(running.address).await,
    ];
    assert_eq!(running.watch.connections(), 2);
    drop(clients);
    running.stop().await;
}

#[tokio::test]
async fn handler_that_panics_or_fails_costs_no_other_connection() {
    let running = run(server().await, |mut ws: WebSocket, _| async move {
        while let Some(message) = ws.recv().await? {
            match message.as_text() {
                Some("panic") => panic!("a panic that this test wants"),
                Some("fail") => return Err("an error that this test wants".into()),
                _ => ws.send(message).await?,
            }
        }
        Ok(())
    });
    let mut bystander = Client::open(running.address).await;
    for end in ["panic", "fail"] {
        let mut client = Client::open(running.address).await;
        client.send(frame::text(end)).await;
        assert_eq!(client.frame().await, Frame::close(1011, ""));
        client.answer(1011).await;
    }
    bystander.send(frame::text("hello")).await;
    assert_eq!(bystander.frame().await, Frame::text("hello"));
    drop(bystander);
    running.stop().await;
}

#[tokio::test]
async fn what_happened_is_counted_by_name() {
    let check = |request: &Request| match request.uri().path() {
        "/chat" => Ok(()),
        _ => Err(Refusal::Application {
            status: http::StatusCode::NOT_FOUND,
            text: "no".into(),
        }),
    };
    let running = run(server().await.check(check), echo);
    let mut clean = Client::open(running.address).await;
    clean.send(frame::close(1000, "")).await;
    assert_eq!(clean.frame().await, Frame::close(1000, ""));
    assert_eq!(clean.rest().await, "");
    drop(clean);
    drop(Client::open(running.address).await);
    let mut violation = Client::open(running.address).await;
    violation.send(frame::plain(0x81, b"not masked")).await;
    assert_eq!(violation.frame().await.close_code(), Some(1002));
    drop(violation);
    let requests = [
        (REQUEST.replace("chat", "other"), 404),
        (REQUEST.replace("localhost", "evil.example"), 403),
        (
            REQUEST.replace("Host:", "Origin: https://evil.example\r\nHost:"),
            403,
        ),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 426),
    ];
    for (request, status) in requests {
        let mut client = Client::new(running.address).await;
        client.send(request).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    drop(Client::new(running.address).await);
    running.connections(0).await;
    let counters = running.watch.counters();
    assert_eq!((counters.accepted, counters.http), (3, 1));
    let refused = [("application", 1), ("host", 1), ("origin", 1), ("io", 1)];
    assert_eq!(counters.refused, counts(&refused));
    assert_eq!(
        counters.ended,
        counts(&[("closed", 1), ("eof", 1), ("masking", 1)])
    );
    running.stop().await;
}

#[tokio::test]
async fn stopping_closes_connections_with_1001_behind_what_they_have_sent() {
    let running = run(server().await, |ws: WebSocket, _| async move {
        ws.send("welcome").await?;
        let ended = ws.closed().await;
        assert!(ended.is_clean(), "{ended}");
        Ok(())
    });
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::open(running.address).await);
    }
    running.stop.send(()).unwrap();
    for mut client in clients {
        assert_eq!(client.frame().await, Frame::text("welcome"));
        assert_eq!(
            client.frame().await,
            Frame::close(1001, "server shuts down")
        );
        client.answer(1001).await;
    }
    running.task.await.unwrap().unwrap();
    assert_eq!(running.watch.counters().ended, counts(&[("closed", 3)]));
    assert_eq!(running.watch.connections(), 0);
}

#[tokio::test]
async fn stopping_takes_no_connection_any_more() {
    let server = server().await;
    let address = server.local_addr().unwrap();
    server
        .run_until(echo, std::future::ready(()))
        .await
        .unwrap();
    let error = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn address_is_free_as_soon_as_the_server_is_told_to_stop() {
    let server = server().await;
    let clone = server.try_clone().unwrap();
    let running = run(server, echo);
    let other = run(clone, echo);
    let mut client = Client::open(running.address).await;
    running.stop.send(()).unwrap();
    other.stop.send(()).unwrap();
    assert_eq!(
        client.frame().await,
        Frame::close(1001, "server shuts down")
    );
    other.task.await.unwrap().unwrap();
    // The client has not answered, so the server waits for it.
    assert_eq!(running.watch.connections(), 1);
    let error = TcpStream::connect(running.address).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let successor = run(Server::bind(running.address).await.unwrap(), echo);
    drop(Client::open(running.address).await);
    successor.stop().await;
    client.answer(1001).await;
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn burst_of_connections_waits_to_be_accepted() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let most: usize = most.trim().parse().unwrap();
    // More than what listening asks for by default, in the standard library and in tokio.
    let burst = 1_100.min(most);
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let server = server().await;
    let address = server.local_addr().unwrap();
    let mut clients = Vec::new();
    for number in 0..burst {
        // Who finds no room is told nothing, and tries again after a second.
        let connect = tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(address));
        let connected = connect.await;
        assert!(connected.is_ok(), "the queue is full after {number}");
        clients.push(connected.unwrap().unwrap());
    }
}

#[tokio::test]
async fn caps_that_are_set_on_a_clone_hold_for_all() {
    let server = server().await;
    let clone = server.try_clone().unwrap().connections_max(1);
    assert_eq!(server.monitor().connections_max(), 1);
    drop(clone);
    let running = run(server, echo);
    let first = Client::open(running.address).await;
    let head = Client::new(running.address).await.head().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    drop(first);
    running.stop().await;
}

#[tokio::test]
async fn stopping_drops_what_does_not_end_in_time() {
    let (held, dropped) = oneshot::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(Some(held)));
    let server = server().await.shutdown_timeout(Duration::from_millis(20));
    let running = run(server, move |ws: WebSocket, _| {
        let held = held.lock().unwrap().take();
        async move {
            pending::<()>().await;
            drop((ws, held));
            Ok(())
        }
    });
    let mut stuck = Client::open(running.address).await;
    let mut silent = Client::new(running.address).await;
    running.connections(2).await;
    running.stop.send(()).unwrap();
    running.task.await.unwrap().unwrap();
    assert!(dropped.await.is_err(), "the handler is dropped");
    assert_eq!(stuck.frame().await, Frame::close(1001, "server shuts down"));
    assert_eq!(stuck.rest().await, "");
    assert_eq!(silent.rest().await, "", "it never sent a request");
}

#[tokio::test]
async fn stopping_waits_for_nobody_who_is_owed_nothing() {
    let hour = Duration::from_secs(3_600);
    let limits = limits(|limits| {
        limits.handshake_timeout = hour;
        limits.close_timeout = hour;
    });
    let server = server_of_paths().await.limits(limits);
    let server = server.connections_max(4).shutdown_timeout(hour);
    let running = run(server, echo);
    let silent = Client::new(running.address).await;
    let mut half = Client::new(running.address).await;
    half.send(&REQUEST[..50]).await;
    // It does not close its side, so the refusal is still under way.
    let mut refused = Client::new(running.address).await;
    refused.send(REQUEST.replace("GET", "PUT")).await;
    let head = refused.head().await;
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let mut idle = Client::new(running.address).await;
    idle.send(PLAIN).await;
    idle.head().await;
    running.connections(4).await;
    let mut turned_away = Client::new(running.address).await;
    let head = turned_away.head().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    running.stop.send(()).unwrap();
    running.task.await.unwrap().unwrap();
    assert_eq!(running.watch.connections(), 0);
    for mut client in [silent, half, idle] {
        let mut byte = [0];
        // It is a reset where bytes of the client's were not read.
        let read = client.stream.read(&mut byte).await.unwrap_or(0);
        assert_eq!(read, 0);
    }
}

#[tokio::test]
async fn stopping_waits_for_what_is_being_answered_and_for_no_further_request() {
    let (asked, was_asked) = oneshot::channel();
    let (answer, may_answer) = oneshot::channel::<()>();
    let parts = std::sync::Mutex::new(Some((asked, may_answer)));
    let server = server().await.http(move |mut plain| {
        let (asked, may_answer) = parts.lock().unwrap().take().unwrap();
        async move {
            asked.send(()).unwrap();
            may_answer.await.unwrap();
            let mut request = Vec::new();
            plain.read_to_end(&mut request).await.unwrap();
            plain
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            Some(plain)
        }
    });
    let running = run(server, echo);
    let mut client = Client::new(running.address).await;
    client.send(format!("{PLAIN}{REQUEST}")).await;
    was_asked.await.unwrap();
    running.stop.send(()).unwrap();
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.watch.connections(), 1);
    answer.send(()).unwrap();
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
    assert_eq!(client.rest().await, "");
    running.task.await.unwrap().unwrap();
    assert_eq!(running.watch.counters().accepted, 0);
}

#[test]
fn clones_share_a_socket_between_runtimes() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let first = runtime();
    let server = first.block_on(server()).connections_max(4);
    let other = server.try_clone().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        runtime().block_on(other.run_until(echo, async { drop(stopped.await) }))
    });
    first.block_on(async {
        let running = run(server, echo);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(Client::open(running.address).await);
        }
        let mut fifth = Client::new(running.address).await;
        assert!(
            fifth.head().await.starts_with("HTTP/1.1 503 "),
            "the cap is shared"
        );
        // And so are the counts, where the other thread has counted what it answered.
        while running.watch.counters().accepted != 4 {
            tokio::task::yield_now().await;
        }
        for mut client in clients {
            client.send(frame::close(1000, "")).await;
            assert_eq!(client.frame().await, Frame::close(1000, ""));
        }
        running.stop().await;
    });
    stop.send(()).unwrap();
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn server_on_loopback_answers_to_names_of_loopback_only() {
    let running = run(server().await, echo);
    for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:9000"] {
        let mut client = Client::new(running.address).await;
        client.send(REQUEST.replace("localhost", host)).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head} to {host}");
    }
    for host in ["example.com", "localhost.evil.example", "10.0.0.1"] {
        let mut client = Client::new(running.address).await;
        client.send(REQUEST.replace("localhost", host)).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head} to {host}");
    }
    running.stop().await;
}

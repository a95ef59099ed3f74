//! Our server with the peers' clients. Each client runs a table of exchanges of its own
//! (`peers/client.py`, `peers/client.mjs`); what our side sees of them is checked here.

use std::time::Duration;

use chappe::{
    BoxError, Cause, CloseCode, Ended, Limits, Refusal, Request, Server, Side, WebSocket,
};
use chappe_interop::{Finished, Peer};
use http::StatusCode;
use tokio::sync::{mpsc, oneshot};

use crate::closing;

#[tokio::test]
async fn server_passes_the_clients_table() {
    Peer::each(async |peer| {
        let (complaints, mut complained) = mpsc::unbounded_channel();
        let server = listen().await;
        let url = format!("ws://{}", server.local_addr().expect("it listens"));
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run_until(
            move |ws, request| exchange_or_complain(ws, request, complaints.clone()),
            async { stopped.await.unwrap_or_default() },
        ));
        let finished = peer.client(&[&url]).await.finish().await;
        drop(stop);
        let ended = running.await.expect("the server does not panic");
        ended.expect("the server can listen");
        check_table(&finished);
        // The server has stopped, so every handler is done.
        assert_eq!(complained.recv().await, None);
    })
    .await;
}

/// The last line tells how many checks there were; all of them passed.
fn check_table(finished: &Finished) {
    let Finished {
        code,
        stdout,
        stderr,
    } = finished;
    assert_eq!((*code, stderr.as_str()), (Some(0), ""));
    let passed = stdout.iter().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(stdout.last(), Some(&format!("1..{passed}")));
    assert!(passed > 50, "{passed} checks are less than there are");
}

#[tokio::test]
async fn server_reports_that_the_client_has_died() {
    Peer::each(async |peer| {
        let (reports, mut reported) = mpsc::unbounded_channel();
        let server = listen().await;
        let url = format!("ws://{}", server.local_addr().expect("it listens"));
        let running = tokio::spawn(server.run(move |mut ws, _request| {
            let reports = reports.clone();
            async move {
                let result = echo(&mut ws).await;
                let _ = reports.send((result.is_ok(), ws.closed().await));
                result
            }
        }));
        let mut client = peer.client(&[&url, "wait"]).await;
        assert_eq!(client.line().await, "waiting");
        client.kill().await;
        let (is_ok, ended) = reported.recv().await.expect("the handler reports");
        assert!(!is_ok, "{ended:?}");
        assert_eq!(ended.cause(), Cause::Eof);
        assert_eq!(
            (ended.by(), ended.code()),
            (Side::Peer, CloseCode::ABNORMAL)
        );
        running.abort();
    })
    .await;
}

/// It pings so often that pings meet everything else.
async fn listen() -> Server {
    let mut limits = Limits::default();
    limits.ping_interval = Some(Duration::from_millis(20));
    let server = Server::bind("127.0.0.1:0")
        .await
        .expect("there is a free port");
    server
        .limits(limits)
        .subprotocol("chat")
        .subprotocol("superchat")
        .check(check_path)
}

fn check_path(request: &Request) -> Result<(), Refusal> {
    match request.uri().path() {
        "/nowhere" => Err(Refusal::Application {
            status: StatusCode::NOT_FOUND,
            text: "there is nothing here".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Complains of whatever should not happen; that `/fail` fails should.
async fn exchange_or_complain(
    mut ws: WebSocket,
    request: Request,
    complaints: mpsc::UnboundedSender<String>,
) -> Result<(), BoxError> {
    let path = request.uri().path();
    let result = exchange(&mut ws, path).await;
    if let (Err(error), true) = (&result, path != "/fail") {
        let _ = complaints.send(format!("{path}: {error}"));
    }
    result
}

/// What the clients may ask for, by the path.
async fn exchange(ws: &mut WebSocket, path: &str) -> Result<(), BoxError> {
    match path {
        "/echo" => echo(ws).await,
        "/ping" => ping(ws).await,
        "/keepalive" => await_keepalive(ws).await,
        "/subprotocol" => tell_subprotocol(ws).await,
        "/close" => close_as_told(ws).await,
        "/closing" => expect_close_as_told(ws).await,
        "/abandoned" => expect_eof(ws).await,
        "/leave" => Ok(()),
        "/fail" => Err("as it was asked to".into()),
        _ => Err("no client should ask for this".into()),
    }
}

async fn echo(ws: &mut WebSocket) -> Result<(), BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

async fn ping(ws: &mut WebSocket) -> Result<(), BoxError> {
    let round_trip = ws.ping().await?;
    if round_trip.is_zero() {
        return Err("a round trip takes time".into());
    }
    ws.send("answered").await?;
    echo(ws).await
}

/// Exchanges messages until a ping of the schedule is answered.
async fn await_keepalive(ws: &mut WebSocket) -> Result<(), BoxError> {
    while ws.round_trip().is_none() {
        ws.send("still here").await?;
        ws.recv().await?;
    }
    ws.send("answered").await?;
    echo(ws).await
}

async fn tell_subprotocol(ws: &mut WebSocket) -> Result<(), BoxError> {
    ws.send(ws.subprotocol().unwrap_or("none")).await?;
    echo(ws).await
}

/// The client says how it wants to be closed.
async fn close_as_told(ws: &mut WebSocket) -> Result<(), BoxError> {
    let frame = closing::parse(&told(ws).await?);
    ws.close(frame.code, &frame.reason).await?;
    Ok(closing::check(&ws.closed().await, Side::Local, &frame)?)
}

/// The client says how it is going to close.
async fn expect_close_as_told(ws: &mut WebSocket) -> Result<(), BoxError> {
    let frame = closing::parse(&told(ws).await?);
    match ws.recv().await? {
        None => Ok(closing::check(&ws.closed().await, Side::Peer, &frame)?),
        Some(message) => Err(format!("expected a close frame, got {message:?}").into()),
    }
}

async fn told(ws: &mut WebSocket) -> Result<String, BoxError> {
    let message = ws.recv().await?.ok_or("closed before it was said how")?;
    Ok(message.as_text().ok_or("expected text")?.to_owned())
}

async fn expect_eof(ws: &mut WebSocket) -> Result<(), BoxError> {
    match ws.recv().await.as_ref().map_err(Ended::cause) {
        Err(Cause::Eof) => Ok(()),
        other => Err(format!("expected the end of the stream, got {other:?}").into()),
    }
}

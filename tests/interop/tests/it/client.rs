//! Our client with the peers' servers.

use std::time::Duration;

use chappe::{Cause, CloseCode, ConnectError, Connector, Limits, Message, Side, connect};
use chappe_interop::Peer;

use crate::closing::{self, CLOSES};
use crate::payload::{payloads, title};

#[tokio::test]
async fn client_gets_back_messages_of_every_size_in_order() {
    Peer::each(async |peer| {
        let server = peer.server().await;
        let ws = connect(&server.url("/echo")).await.expect("it connects");
        let (sender, mut receiver) = ws.split();
        let send = async {
            for message in payloads() {
                sender.send(message).await.expect("it is open");
            }
        };
        let receive = async {
            for expected in payloads() {
                let message = receiver.recv().await.expect("it is open");
                assert!(message.as_ref() == Some(&expected), "{}", title(&expected));
            }
        };
        tokio::join!(send, receive);
        let closed = sender.close(CloseCode::NORMAL, "").await;
        closed.expect("it is clean");
    })
    .await;
}

#[tokio::test]
async fn client_joins_fragments_and_answers_the_pings_between() {
    Peer::each(async |peer| {
        let server = peer.server().await;
        let mut ws = connect(&server.url("/fragments"))
            .await
            .expect("it connects");
        for expected in payloads() {
            ws.send(expected.clone()).await.expect("it is open");
            let message = ws.recv().await.expect("it is open");
            assert!(message.as_ref() == Some(&expected), "{}", title(&expected));
            let answered = ws.recv().await.expect("it is open");
            assert_eq!(answered, Some("answered".into()), "{}", title(&expected));
        }
    })
    .await;
}

#[tokio::test]
async fn client_answers_pings_and_its_own_are_answered() {
    Peer::each(async |peer| {
        let server = peer.server().await;
        let mut ws = connect(&server.url("/ping")).await.expect("it connects");
        let answered = ws.recv().await.expect("it is open");
        assert_eq!(answered, Some("answered".into()));
        assert_eq!(ws.round_trip(), None);
        let round_trip = ws.ping().await.expect("it is open");
        assert!(round_trip > Duration::ZERO);
        assert_eq!(ws.round_trip(), Some(round_trip));
    })
    .await;
}

#[tokio::test]
async fn client_pings_on_its_schedule() {
    Peer::each(async |peer| {
        let server = peer.server().await;
        let mut limits = Limits::default();
        limits.ping_interval = Some(Duration::from_millis(20));
        let connector = Connector::new(&server.url("/echo")).limits(limits);
        let mut ws = connector.connect().await.expect("it connects");
        while ws.round_trip().is_none() {
            ws.send("still here").await.expect("it is open");
            let message = ws.recv().await.expect("it is open");
            assert_eq!(message, Some("still here".into()));
        }
    })
    .await;
}

#[tokio::test]
async fn client_agrees_on_a_subprotocol() {
    let rows: [(&[&str], Option<&str>); 5] = [
        (&[], None),
        (&["superchat"], Some("superchat")),
        (&["superchat", "chat"], Some("chat")),
        (&["smoke-signals", "superchat"], Some("superchat")),
        (&["smoke-signals"], None),
    ];
    Peer::each(async |peer| {
        let server = peer.server().await;
        for (offered, chosen) in rows {
            let mut connector = Connector::new(&server.url("/echo"));
            for name in offered {
                connector = connector.subprotocol(name);
            }
            let ws = connector.connect().await.expect("it connects");
            assert_eq!(ws.subprotocol(), chosen, "{offered:?}");
        }
        let error = refused(Connector::new(&server.url("/unoffered")).subprotocol("chat")).await;
        assert_eq!(
            error,
            "server chose subprotocol \"unoffered\", which was not offered"
        );
    })
    .await;
}

#[tokio::test]
async fn client_is_refused() {
    Peer::each(async |peer| {
        let server = peer.server().await;
        let error = refused(Connector::new(&server.url("/refuse"))).await;
        assert_eq!(error, "server answered with status 403 Forbidden, not 101");
    })
    .await;
}

/// What is said of a handshake that does not lead to a connection.
async fn refused(connector: Connector) -> String {
    match connector.connect().await {
        Err(ConnectError::Handshake(error)) => error.to_string(),
        other => panic!("not refused, but {other:?}"),
    }
}

#[tokio::test]
async fn client_is_closed() {
    Peer::each(async |peer| {
        let mut server = peer.server().await;
        for words in CLOSES {
            let mut ws = connect(&server.url("/close")).await.expect("it connects");
            ws.send(words).await.expect("it is open");
            let end = ws.recv().await;
            assert!(matches!(end, Ok(None)), "{end:?}");
            let frame = closing::parse(words);
            closing::check(&ws.closed().await, Side::Peer, &frame).expect(words);
            // The answer, as the peer received it.
            let code = u16::from(frame.code);
            let line = server.process().line().await;
            assert_eq!(line, format!("closed {code} "));
        }
    })
    .await;
}

#[tokio::test]
async fn client_closes() {
    Peer::each(async |peer| {
        let mut server = peer.server().await;
        for words in CLOSES {
            let ws = connect(&server.url("/echo")).await.expect("it connects");
            let frame = closing::parse(words);
            ws.close(frame.code, &frame.reason).await.expect(words);
            closing::check(&ws.closed().await, Side::Local, &frame).expect(words);
            let (code, reason) = (u16::from(frame.code), frame.reason);
            let line = server.process().line().await;
            assert_eq!(line, format!("closed {code} {reason}"));
        }
    })
    .await;
}

#[tokio::test]
async fn client_reports_that_the_server_has_died() {
    Peer::each(async |peer| {
        let mut server = peer.server().await;
        let mut ws = connect(&server.url("/echo")).await.expect("it connects");
        ws.send("hello").await.expect("it is open");
        let message = ws.recv().await.expect("it is open");
        assert_eq!(message, Some(Message::from("hello")));
        server.process().kill().await;
        let ended = ws.recv().await.expect_err("the server could not close");
        assert_eq!(ended.cause(), Cause::Eof);
        assert_eq!(
            (ended.by(), ended.code()),
            (Side::Peer, CloseCode::ABNORMAL)
        );
        let error = ws.send("anybody?").await.expect_err("it has ended");
        assert_eq!(error.into_message(), Message::from("anybody?"));
    })
    .await;
}

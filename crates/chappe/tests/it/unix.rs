//! Unix sockets: any stream will do.

use chappe::{AcceptError, Acceptor, CloseCode, Connector, Ended};
use tokio::net::{UnixListener, UnixStream};

use crate::endpoint::echo;

async fn talk(stream: UnixStream) {
    let mut ws = Connector::new("ws://localhost/chat")
        .connect_on(stream)
        .await
        .unwrap();
    for number in 0..100 {
        ws.send(number.to_string()).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(number.to_string().into()));
    }
    let large = "x".repeat(1_000_000);
    ws.send(large.clone()).await.unwrap();
    assert_eq!(ws.recv().await.unwrap(), Some(large.into()));
    ws.close(CloseCode::NORMAL, "").await.unwrap();
}

#[tokio::test]
async fn pair_of_unix_sockets_carries_a_connection() {
    let (near, far) = UnixStream::pair().unwrap();
    let acceptor = Acceptor::new();
    let (served, ()) = tokio::join!(acceptor.serve(near, echo), talk(far));
    assert!(served.unwrap().is_clean());
}

#[tokio::test]
async fn unix_socket_that_listens_serves_connections() {
    let name = format!("chappe-{}.socket", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        let mut connections = Vec::new();
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            connections.push(tokio::spawn(async move {
                Acceptor::new().serve(stream, echo).await
            }));
        }
        for connection in connections {
            let served: Result<Ended, AcceptError<UnixStream>> = connection.await.unwrap();
            assert!(served.unwrap().is_clean());
        }
    });
    for _ in 0..3 {
        talk(UnixStream::connect(&path).await.unwrap()).await;
    }
    serving.await.unwrap();
    std::fs::remove_file(&path).unwrap();
}

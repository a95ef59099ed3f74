//! What a busy task, a busy stream or a busy peer may not cost: a deadline, a reply, another
//! connection's turn.

use std::future::pending;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chappe::{Acceptor, Cause, ProtocolError, Server, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::endpoint::{REQUEST, accepted_by, echo, limits, served, served_by, settle};
use crate::frame::{self, Frame};
use crate::wire::Options;

const MILLISECOND: Duration = Duration::from_millis(1);

/// More than a task may do at a time, as tokio counts.
const BUDGET: usize = 200;

/// Takes whatever the channel has, and waits for more.
async fn drain(ws: WebSocket, mut channel: mpsc::UnboundedReceiver<usize>) {
    while channel.recv().await.is_some() {}
    drop(ws);
}

#[tokio::test(start_paused = true)]
async fn pings_are_sent_though_the_handler_spends_its_budget() {
    let acceptor = Acceptor::new().limits(limits(|limits| {
        limits.ping_interval = Some(100 * MILLISECOND);
    }));
    let (items, channel) = mpsc::unbounded_channel();
    for item in 0..BUDGET {
        items.send(item).unwrap();
    }
    let (peer, _task) = served_by(acceptor, Options::default(), |ws, _| async move {
        drain(ws, channel).await;
        Ok(())
    })
    .await;
    let begin = Instant::now();
    for number in 1..=10 {
        let ping = peer.frame().await;
        assert!(ping.is_ping(), "{ping:?}");
        let due = 100 * MILLISECOND * number;
        assert!(begin.elapsed() < due + 5 * MILLISECOND, "ping {number}");
        peer.send(frame::pong(&ping.payload));
        // It is busy again.
        for item in 0..BUDGET {
            items.send(item).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closing_has_a_deadline_though_the_handler_spends_its_budget() {
    let (items, channel) = mpsc::unbounded_channel();
    let (peer, task) = served(|ws, _| async move {
        ws.begin_close(1000.into(), "")?;
        drain(ws, channel).await;
        Ok(())
    })
    .await;
    let begin = Instant::now();
    for item in 0..BUDGET {
        items.send(item).unwrap();
    }
    peer.dropped().await;
    assert_eq!(begin.elapsed().as_secs(), 5);
    drop(items);
    assert_eq!(task.await.unwrap().unwrap().cause(), Cause::CloseTimeout);
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_and_does_not_answer_pings_is_failed_though_bursts_are_sent() {
    let acceptor = Acceptor::new().limits(limits(|limits| {
        limits.ping_interval = Some(100 * MILLISECOND);
        limits.pong_timeout = 100 * MILLISECOND;
    }));
    let (bursts, mut channel) = mpsc::unbounded_channel::<usize>();
    let (peer, task) = served_by(acceptor, Options::default(), |ws, _| async move {
        while let Some(item) = channel.recv().await {
            ws.send(item.to_string()).await?;
        }
        Ok(())
    })
    .await;
    let begin = Instant::now();
    let burst = async {
        loop {
            for item in 0..BUDGET {
                let _ = bursts.send(item);
            }
            tokio::time::sleep(10 * MILLISECOND).await;
            peer.take_written();
        }
    };
    tokio::select! {
        () = burst => {}
        ended = task => {
            let cause = ended.unwrap().unwrap().cause();
            let expected = ProtocolError::PongTimeout { after: 100 * MILLISECOND };
            assert_eq!(cause, Cause::Protocol(expected));
            assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_reply_leaves_while_others_are_awaited() {
    let (peer, _task) = served(|mut ws, _| async move {
        while let Some(message) = ws.recv().await? {
            let reply = tokio::spawn(async move {
                tokio::time::sleep(MILLISECOND).await;
                message
            });
            ws.send(reply.await?).await?;
        }
        Ok(())
    })
    .await;
    let begin = Instant::now();
    peer.send(frame::text("request").repeat(2000));
    assert_eq!(peer.frame().await, Frame::text("request"));
    assert!(begin.elapsed() < 10 * MILLISECOND, "{:?}", begin.elapsed());
}

/// A stream that is always ready: it sends the same frame again and again, and takes everything.
struct AlwaysReady {
    handshake: io::Cursor<&'static [u8]>,
    frame: Vec<u8>,
    /// Bytes of it that one read gives.
    read_max: usize,
    polls: Arc<AtomicUsize>,
}

impl AsyncRead for AlwaysReady {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        let handshake = &mut self.handshake;
        if (handshake.position() as usize) < handshake.get_ref().len() {
            let mut head = vec![0; buf.remaining()];
            let length = io::Read::read(handshake, &mut head)?;
            buf.put_slice(&head[..length]);
            return Poll::Ready(Ok(()));
        }
        let mut room = buf.remaining().min(self.read_max);
        while room >= self.frame.len() {
            buf.put_slice(&self.frame);
            room -= self.frame.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AlwaysReady {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_always_ready_lets_others_have_their_turn() {
    for (read_max, reads_max) in [(usize::MAX, 2), (13, 130)] {
        let polls = Arc::<AtomicUsize>::default();
        let stream = AlwaysReady {
            handshake: io::Cursor::new(REQUEST.as_bytes()),
            frame: frame::text("flood.."),
            read_max,
            polls: polls.clone(),
        };
        let flood = tokio::spawn(async move { Acceptor::new().serve(stream, echo).await });
        settle().await;
        let before = polls.load(Ordering::Relaxed);
        assert!(before > 1, "it is served");
        for _ in 0..10 {
            let before = polls.load(Ordering::Relaxed);
            tokio::task::yield_now().await;
            let reads = polls.load(Ordering::Relaxed) - before;
            assert!(
                reads <= reads_max,
                "{reads} reads of {read_max} bytes in one turn"
            );
        }
        flood.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_everything_lets_others_have_their_turn() {
    let polls = Arc::<AtomicUsize>::default();
    let stream = AlwaysReady {
        handshake: io::Cursor::new(REQUEST.as_bytes()),
        frame: frame::text("begin"),
        read_max: 11,
        polls,
    };
    let sent = Arc::<AtomicUsize>::default();
    let counted = sent.clone();
    let flood = tokio::spawn(async move {
        let feed = |ws: WebSocket, _| async move {
            loop {
                ws.send(vec![0; 10_000]).await?;
                counted.fetch_add(10_000, Ordering::Relaxed);
            }
        };
        Acceptor::new().serve(stream, feed).await
    });
    settle().await;
    for _ in 0..10 {
        let before = sent.load(Ordering::Relaxed);
        tokio::task::yield_now().await;
        // The runtime looks at others after at most 61 polls of this task.
        let bytes = sent.load(Ordering::Relaxed) - before;
        assert!(bytes <= 61 * 320 * 1024, "{bytes} bytes in one turn");
    }
    flood.abort();
}

/// Opens a connection to a server and gives its stream.
async fn open(server: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

#[tokio::test]
async fn pings_are_sent_over_a_socket_though_the_handler_spends_its_budget() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.limits(limits(|limits| {
        limits.ping_interval = Some(20 * MILLISECOND);
    }));
    let address = server.local_addr().unwrap();
    let run = server.run(|ws, _| async move {
        let (items, channel) = mpsc::unbounded_channel();
        for item in 0..BUDGET {
            items.send(item)?;
        }
        drain(ws, channel).await;
        drop(items);
        Ok(())
    });
    let running = tokio::spawn(run);
    let mut stream = open(address).await;
    let pings = async {
        for _ in 0..5 {
            let mut ping = [0; 6];
            stream.read_exact(&mut ping).await.unwrap();
            assert_eq!(ping[..2], [0x89, 4]);
            let answer = frame::pong(&ping[2..]);
            stream.write_all(&answer).await.unwrap();
        }
    };
    timeout(Duration::from_secs(30), pings)
        .await
        .expect("five pings");
    running.abort();
}

#[tokio::test]
async fn a_live_peer_that_reads_slowly_is_not_failed() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.outbox_bytes_max(1 << 20).limits(limits(|limits| {
        limits.ping_interval = Some(50 * MILLISECOND);
        limits.pong_timeout = 100 * MILLISECOND;
    }));
    let address = server.local_addr().unwrap();
    let running = tokio::spawn(server.run(|ws, _| async move {
        for _ in 0..16 {
            ws.send(vec![7; 1 << 16]).await?;
        }
        ws.send("last").await?;
        ws.closed().await;
        Ok(())
    }));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    // A megabyte in most of a second, each ping behind much of it.
    let (mut received, mut chunk) = (Vec::new(), vec![0; 16 * 1024]);
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(10 * MILLISECOND).await;
        let length = stream.read(&mut chunk).await.unwrap();
        assert!(length > 0, "the end");
        received.extend_from_slice(&chunk[..length]);
        let (frames, length) = frame::decode_all(&received);
        received.drain(..length);
        for ping in frames.iter().filter(|frame| frame.is_ping()) {
            stream.write_all(&frame::pong(&ping.payload)).await.unwrap();
        }
        let failed = frames.iter().find(|frame| frame.close_code().is_some());
        assert_eq!(failed, None, "after {:?}", begin.elapsed());
        if frames.contains(&Frame::text("last")) {
            break;
        }
    }
    assert!(begin.elapsed() > 200 * MILLISECOND, "it was not slow");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_live_peer_that_sends_slowly_is_not_failed() {
    let acceptor = Acceptor::new().limits(limits(|limits| {
        limits.ping_interval = Some(Duration::from_secs(1));
        limits.pong_timeout = Duration::from_secs(1);
    }));
    let (ws, peer) = accepted_by(acceptor, Options::default()).await;
    let (_sender, mut receiver) = ws.split();
    let receiving = tokio::spawn(async move {
        let mut messages = 0;
        while let Ok(Some(_)) = receiver.recv().await {
            messages += 1;
        }
        messages
    });
    let ping = peer.frame().await;
    // 100 kB a second for six seconds, and then its pong.
    for _ in 0..60 {
        peer.send(frame::masked(0x82, &[7; 10_000]));
        tokio::time::sleep(100 * MILLISECOND).await;
    }
    assert_eq!(peer.take_frames(), [], "it was alive all the while");
    peer.send(frame::pong(&ping.payload));
    settle().await;
    peer.send(frame::close(1000, ""));
    assert_eq!(receiving.await.unwrap(), 60);
}

#[tokio::test]
async fn peers_that_answered_while_the_thread_stood_still_are_not_failed() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.limits(limits(|limits| {
        limits.ping_interval = Some(50 * MILLISECOND);
        limits.pong_timeout = 50 * MILLISECOND;
        limits.handshake_timeout = 150 * MILLISECOND;
    }));
    let address = server.local_addr().unwrap();
    let running = tokio::spawn(server.run(|ws, _| async move {
        pending::<()>().await;
        drop(ws);
        Ok(())
    }));
    let mut open = open(address).await;
    let mut half = TcpStream::connect(address).await.unwrap();
    let (first, rest) = REQUEST.as_bytes().split_at(40);
    half.write_all(first).await.unwrap();
    let mut ping = [0; 6];
    open.read_exact(&mut ping).await.unwrap();
    // What arrives now is not looked at until the deadlines have passed.
    let answer = frame::pong(&ping[2..]);
    open.try_write(&answer).unwrap();
    half.try_write(rest).unwrap();
    std::thread::sleep(300 * MILLISECOND);
    let mut answer = [0; 12];
    half.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    open.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping[..2], [0x89, 4], "another ping, and no close frame");
    running.abort();
}

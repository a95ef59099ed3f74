//! Connections on many threads, with halves, clones, futures that are dropped, and closes at random:
//! whatever happens, messages arrive in order and once, every connection ends, and nothing is kept.
//!
//! Seconds here; `CHAPPE_STRESS_SECONDS=600 cargo test -p chappe --test it stress` goes on for minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use chappe::{Acceptor, CloseCode, Connector, Memory, Message, Receiver, Sender, WebSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::endpoint::limits;
use crate::random::{Random, seed};

/// How long a connection may take, where the machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ClientCloses,
    ServerCloses,
    BothClose,
    HandlesAreDropped,
}

const ENDS: [End; 4] = [
    End::ClientCloses,
    End::ServerCloses,
    End::BothClose,
    End::HandlesAreDropped,
];

/// Numbers that one sender sends on a connection, in order: which sender, and which number.
fn numbered(sender: usize, number: usize, random: &mut Random) -> Message {
    let padding = match random.below(20) {
        0 => random.below(100_000),
        1..=4 => random.below(3000),
        _ => random.below(30),
    };
    format!("{sender}:{number}:{}", ".".repeat(padding)).into()
}

/// Checks that each sender's numbers come in order and once.
#[derive(Default)]
struct Order(Vec<usize>);

impl Order {
    fn check(&mut self, message: &Message) {
        let mut parts = message.as_text().expect("text").split(':');
        let [sender, number] = [0; 2].map(|_| parts.next().unwrap().parse::<usize>().unwrap());
        if self.0.len() <= sender {
            self.0.resize(sender + 1, 0);
        }
        assert_eq!(number, self.0[sender], "the next of sender {sender}");
        self.0[sender] += 1;
    }
}

/// Polls a future so many times, and then drops it.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = times;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            // It may be woken by this alone.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

async fn send_numbers(sender: Sender, which: usize, mut random: Random, over: Arc<AtomicBool>) {
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        let message = numbered(which, number, &mut random);
        let sent = match random.below(10) {
            0 => match poll_times(sender.send(message), random.below(3)).await {
                Some(sent) => sent.is_ok(),
                // It was not sent, so it is the next again.
                None => continue,
            },
            1 => match sender.try_send(message) {
                Err(error) if error.is_full() => {
                    tokio::task::yield_now().await;
                    continue;
                }
                sent => sent.is_ok(),
            },
            2 => {
                let _ = poll_times(sender.ping(), random.below(3)).await;
                let _ = poll_times(sender.closed(), random.below(2)).await;
                let _ = poll_times(sender.flush(), random.below(3)).await;
                continue;
            }
            3 => sender.ready().await.is_ok() && sender.send(message).await.is_ok(),
            4 => sender.send(message).await.is_ok() && sender.flush().await.is_ok(),
            _ => sender.send(message).await.is_ok(),
        };
        if !sent {
            return;
        }
        number += 1;
    }
}

async fn receive(mut receiver: Receiver, mut random: Random, arrived: Arc<AtomicUsize>) {
    let mut order = Order::default();
    loop {
        let next = if random.below(4) == 0 {
            poll_times(receiver.recv(), random.below(3)).await
        } else {
            Some(receiver.recv().await)
        };
        match next {
            Some(Ok(Some(message))) => order.check(&message),
            // Asking again gives the same.
            Some(Ok(None)) => return assert!(matches!(receiver.recv().await, Ok(None))),
            Some(Err(_)) => return assert!(receiver.recv().await.is_err()),
            None => continue,
        }
        arrived.fetch_add(1, Ordering::Relaxed);
        if random.below(8) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// One side: two senders and a receiver, in tasks of their own.
struct Side {
    sender: Sender,
    over: Arc<AtomicBool>,
    arrived: Arc<AtomicUsize>,
    senders: Vec<JoinHandle<()>>,
    receiver: JoinHandle<()>,
}

impl Side {
    fn start(ws: WebSocket, random: &mut Random) -> Self {
        let (sender, receiver) = ws.split();
        let over = Arc::<AtomicBool>::default();
        let arrived = Arc::<AtomicUsize>::default();
        let senders = (0..2)
            .map(|which| {
                let (sender, random) = (sender.clone(), random.fork());
                tokio::spawn(send_numbers(sender, which, random, over.clone()))
            })
            .collect();
        let receiver = tokio::spawn(receive(receiver, random.fork(), arrived.clone()));
        Self {
            sender,
            over,
            arrived,
            senders,
            receiver,
        }
    }

    /// Lets go of the connection, and of what it does.
    async fn end(self, what: &str) {
        self.over.store(true, Ordering::Relaxed);
        let Self {
            sender,
            senders,
            receiver,
            ..
        } = self;
        drop(sender);
        for task in senders.into_iter().chain([receiver]) {
            let ended = timeout(PATIENCE, task).await;
            let ended = ended.unwrap_or_else(|_| panic!("{what}: a task hangs"));
            ended.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

/// Two ends of a connection over a stream that holds so many bytes.
async fn connection(memory: &Memory, random: &mut Random) -> (WebSocket, WebSocket) {
    let (near, far) = tokio::io::duplex(1 + random.below(100_000));
    let outbox = 1 + random.below(100_000);
    // Without pings of its own, nothing wakes a driver that missed something.
    let limits = limits(|limits| {
        limits.ping_interval = None;
        limits.pong_timeout = PATIENCE;
    });
    let acceptor = Acceptor::new().limits(limits.clone()).memory(memory);
    let acceptor = acceptor.outbox_bytes_max(outbox);
    let connector = Connector::new("ws://localhost/").limits(limits);
    let connector = connector.memory(memory).outbox_bytes_max(outbox);
    let (server, client) = tokio::join!(acceptor.accept(near), connector.connect_on(far));
    (server.unwrap(), client.unwrap())
}

async fn converse(memory: &Memory, mut random: Random) {
    let (server, client) = connection(memory, &mut random).await;
    let [server, client] = [server, client].map(|ws| Side::start(ws, &mut random));
    let end = ENDS[random.below(ENDS.len())];
    let what = format!("{end:?}");
    // Some messages have come through, in both directions.
    let messages = random.below(200);
    let begin = Instant::now();
    while [&server, &client].map(|side| side.arrived.load(Ordering::Relaxed) < messages)
        != [false; 2]
    {
        assert!(begin.elapsed() < PATIENCE, "{what}: nothing comes through");
        tokio::task::yield_now().await;
    }
    let code = CloseCode::NORMAL;
    match end {
        End::ServerCloses => drop(server.sender.close(code, "").await),
        End::ClientCloses => drop(client.sender.close(code, "").await),
        End::BothClose => {
            let both = tokio::join!(server.sender.close(code, ""), client.sender.close(code, ""));
            drop(both);
        }
        End::HandlesAreDropped => client.receiver.abort(),
    }
    if end == End::HandlesAreDropped {
        let Side {
            sender, senders, ..
        } = client;
        senders.iter().for_each(JoinHandle::abort);
        drop(sender);
        server.end(&what).await;
    } else {
        server.end(&what).await;
        client.end(&what).await;
    }
}

#[test]
fn conversations_on_many_threads_end_and_leave_nothing_behind() {
    let seconds = std::env::var("CHAPPE_STRESS_SECONDS").ok();
    let seconds = seconds.map_or(3, |seconds| seconds.parse().expect("a number of seconds"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let memory = Memory::new(usize::MAX);
    let mut seeds = Random::new(seed());
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(seconds) {
        println!("CHAPPE_TEST_SEED={}", seeds.state());
        let round: Vec<_> = (0..8).map(|_| seeds.fork()).collect();
        let memory = memory.clone();
        runtime.block_on(async {
            let conversations = round.into_iter().map(|random| {
                let memory = memory.clone();
                tokio::spawn(async move { converse(&memory, random).await })
            });
            for conversation in conversations.collect::<Vec<_>>() {
                conversation.await.unwrap();
            }
            let begin = Instant::now();
            while memory.held_bytes() > 0 {
                assert!(begin.elapsed() < PATIENCE, "{memory:?} is held by nobody");
                tokio::task::yield_now().await;
            }
        });
    }
}

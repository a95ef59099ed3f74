//! Conversations of random shape between two ends of the library: what is sent is received.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chappe::{Acceptor, CloseCode, Connector, Message, Prepared, WebSocket};
use tokio::time::timeout;

use crate::endpoint::limits;

/// A small generator (xorshift), so that a failing run can be run again from its seed.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// What it is a new generator's seed of.
    pub(crate) fn state(&self) -> u64 {
        self.0
    }

    /// Another generator, for another task.
    pub(crate) fn fork(&mut self) -> Self {
        self.below(2);
        Self::new(self.0.rotate_left(32))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn message(&mut self) -> Message {
        let length = match self.below(10) {
            0 => 0,
            1..=5 => self.below(200),
            6..=8 => self.below(10_000),
            _ => self.below(200_000),
        };
        let digit = b'0' + self.below(10) as u8;
        let bytes = vec![digit; length];
        if self.below(2) == 0 {
            return bytes.into();
        }
        String::from_utf8(bytes).expect("digits are text").into()
    }
}

/// The seed: a new one, or that of a run that failed.
pub(crate) fn seed() -> u64 {
    let new = || {
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is past 1970");
        time.as_nanos() as u64 | 1
    };
    let given = std::env::var("CHAPPE_TEST_SEED").ok();
    given.map_or_else(new, |seed| seed.parse().expect("a seed is a number"))
}

/// How long a conversation may take: a second, where the machine is slow.
const PATIENCE: Duration = Duration::from_secs(30);

const MESSAGES: usize = 300;

async fn send_all(mut random: Random, ws: &chappe::Sender) {
    for _ in 0..MESSAGES {
        let message = random.message();
        match random.below(8) {
            0 => ws.send_prepared(&prepared(&message)).await.unwrap(),
            1 => drop(ws.ping().await.unwrap()),
            2 => tokio::task::yield_now().await,
            3 => ws.flush().await.unwrap(),
            _ => ws.send(message).await.unwrap(),
        }
    }
    // A ping that was last might meet the close frame of a peer that has received all.
    ws.send("last").await.unwrap();
}

fn prepared(message: &Message) -> Prepared {
    match message.as_text() {
        Some(text) => Prepared::text(text),
        None => Prepared::binary(message.as_bytes()),
    }
}

/// What [`send_all`] sends, as long as it draws the same numbers.
fn expected(mut random: Random) -> Vec<Message> {
    let mut expected = Vec::new();
    for _ in 0..MESSAGES {
        let message = random.message();
        if !matches!(random.below(8), 1..=3) {
            expected.push(message);
        }
    }
    expected.push("last".into());
    expected
}

async fn converse(mine: Random, theirs: Random, ws: WebSocket) -> chappe::Sender {
    let mut pauses = mine.clone();
    let (sender, mut receiver) = ws.split();
    let receive = async {
        for (number, expected) in expected(theirs).into_iter().enumerate() {
            if pauses.below(4) == 0 {
                tokio::task::yield_now().await;
            }
            let message = receiver.recv().await.unwrap().expect("no end");
            assert!(
                message == expected,
                "message {number} of {} bytes",
                expected.len()
            );
        }
        receiver
    };
    let (receiver, ()) = tokio::join!(receive, send_all(mine, &sender));
    sender.flush().await.unwrap();
    drop(receiver);
    sender
}

#[tokio::test]
async fn conversations_of_any_shape_are_received_as_they_were_sent() {
    let mut seeds = Random(seed());
    for round in 0..6 {
        println!("round {round}: CHAPPE_TEST_SEED={}", seeds.0);
        let (client, server) = (seeds.clone(), Random(seeds.0.rotate_left(32) | 1));
        let pipe = 1 + seeds.below(100_000);
        let outbox = 1 + seeds.below(100_000);
        let (near, far) = tokio::io::duplex(pipe);
        // Without pings of its own, nothing wakes a driver that missed something.
        let limits = limits(|limits| limits.ping_interval = None);
        let acceptor = Acceptor::new()
            .limits(limits.clone())
            .outbox_bytes_max(outbox);
        let serve = acceptor.serve(near, |ws, _| {
            let (mine, theirs) = (server.clone(), client.clone());
            async move {
                let sender = converse(mine, theirs, ws).await;
                assert!(sender.closed().await.is_clean());
                Ok(())
            }
        });
        let connect = async {
            let connector = Connector::new("ws://localhost/").limits(limits);
            let connector = connector.outbox_bytes_max(outbox);
            let ws = connector.connect_on(far).await.unwrap();
            let sender = converse(client.clone(), server.clone(), ws).await;
            sender.close(CloseCode::NORMAL, "").await.unwrap();
        };
        let both = async { tokio::join!(serve, connect) };
        let (ended, ()) = timeout(PATIENCE, both).await.expect("an end in time");
        assert!(ended.unwrap().is_clean());
    }
}

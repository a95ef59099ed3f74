//! Connecting to a host by TCP, at whichever of its addresses answers first (RFC 8305, "Happy
//! Eyeballs").
//!
//! In: a host's name or address, and a port. Out: a stream, or the error that says most of why
//! there is none. How long all of it may take is the caller's to bound.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    race(interleaved(&addresses), TcpStream::connect).await
}

/// The addresses in their order, but the families in turn (section 4): where one family leads
/// nowhere, the second attempt is of the other.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first_family = |address: &SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().partition(|it| is_first_family(it));
    let mut second = second.into_iter();
    let mut order = Vec::with_capacity(addresses.len());
    for address in first {
        order.push(address);
        order.extend(second.next());
    }
    order.extend(second);
    order
}

/// Begins an attempt after the other, each when the one before has failed or is still pending
/// after a while (section 5). The first that succeeds ends all others.
async fn race<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut addresses = addresses.into_iter();
    let mut attempts = Vec::new();
    let mut failure: Option<io::Error> = None;
    loop {
        match addresses.next() {
            Some(address) => attempts.push(Box::pin(connect(address))),
            None if attempts.is_empty() => return Err(failure.unwrap_or_else(no_address)),
            None => {}
        }
        let is_last = addresses.len() == 0;
        let patience = if is_last {
            Duration::MAX
        } else {
            ATTEMPT_DELAY
        };
        match timeout(patience, first_to_end(&mut attempts)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = Some(more_telling(failure, error)),
            Err(_) => {}
        }
    }
}

/// The result of the attempt that ends first, which is taken out.
async fn first_to_end<T, F>(attempts: &mut Vec<Pin<Box<F>>>) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    std::future::poll_fn(|cx| {
        for index in 0..attempts.len() {
            if let Poll::Ready(result) = attempts[index].as_mut().poll(cx) {
                drop(attempts.remove(index));
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    })
    .await
}

/// An answer from the host says more than that this machine knows no way to an address; of two
/// answers, the first counts.
fn more_telling(before: Option<io::Error>, error: io::Error) -> io::Error {
    let is_no_way = |error: &io::Error| {
        matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::Unsupported
        )
    };
    match before {
        Some(before) if !is_no_way(&before) || is_no_way(&error) => before,
        _ => error,
    }
}

fn no_address() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "the host has no address")
}

/// How long an attempt is waited for before the next begins (section 8 recommends it).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{Instant, sleep};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        format!("{text}:80").parse().unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| address(text)).collect()
    }

    #[test]
    fn families_take_turns_and_the_first_stays_first() {
        for (given, expected) in [
            (&[][..], &[][..]),
            (&["[::1]"], &["[::1]"]),
            (
                &["[::1]", "[::2]", "1.1.1.1"],
                &["[::1]", "1.1.1.1", "[::2]"],
            ),
            (
                &["1.1.1.1", "[::1]", "[::2]", "[::3]"],
                &["1.1.1.1", "[::1]", "[::2]", "[::3]"],
            ),
            (
                &["1.1.1.1", "1.1.1.2", "1.1.1.3", "[::1]", "[::2]"],
                &["1.1.1.1", "[::1]", "1.1.1.2", "[::2]", "1.1.1.3"],
            ),
        ] {
            assert_eq!(interleaved(&addresses(given)), addresses(expected));
        }
    }

    /// How an address behaves: after so many milliseconds it answers, or fails so; or it never
    /// does anything.
    #[derive(Clone, Copy)]
    enum Behaviour {
        Answers(u64),
        Fails(u64, ErrorKind),
        Drops,
    }
    use Behaviour::{Answers, Drops, Fails};

    /// Dials addresses that behave so: the one that answered or the error, and when; and when
    /// each attempt began.
    async fn dialled(behaviours: &[Behaviour]) -> (Result<usize, ErrorKind>, u64, Vec<u64>) {
        let start = Instant::now();
        let elapsed = || start.elapsed().as_millis() as u64;
        let begun = RefCell::new(Vec::new());
        let connect = |address: SocketAddr| {
            let index = usize::from(address.port());
            begun.borrow_mut().push(elapsed());
            async move {
                match behaviours[index] {
                    Answers(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(index)
                    }
                    Fails(after, kind) => {
                        sleep(Duration::from_millis(after)).await;
                        Err(io::Error::from(kind))
                    }
                    Drops => std::future::pending().await,
                }
            }
        };
        let ports = 0..behaviours.len() as u16;
        let addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let result = race(addresses.collect(), connect).await;
        let result = result.map_err(|error| error.kind());
        (result, elapsed(), begun.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn first_address_that_answers_is_taken() {
        for (behaviours, winner, after, begun) in [
            (&[Answers(5)][..], 0, 5, &[0][..]),
            (&[Answers(200), Answers(1)], 0, 200, &[0]),
            (&[Drops, Answers(5)], 1, 255, &[0, 250]),
            (
                &[Drops, Drops, Answers(5), Answers(0)],
                2,
                505,
                &[0, 250, 500],
            ),
            // One that is slow wins if the next is slower.
            (&[Answers(400), Answers(200)], 0, 400, &[0, 250]),
            (&[Answers(400), Answers(100)], 1, 350, &[0, 250]),
            (&[Answers(9000), Drops, Drops], 0, 9000, &[0, 250, 500]),
            // After a failure the next begins at once.
            (
                &[Fails(5, ErrorKind::ConnectionRefused), Answers(5)],
                1,
                10,
                &[0, 5],
            ),
            (
                &[Drops, Fails(5, ErrorKind::ConnectionRefused), Answers(5)],
                2,
                260,
                &[0, 250, 255],
            ),
            (
                &[Answers(800), Fails(5, ErrorKind::ConnectionRefused)],
                0,
                800,
                &[0, 250],
            ),
        ] {
            let found = dialled(behaviours).await;
            assert_eq!(found, (Ok(winner), after, begun.to_vec()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn error_that_says_most_is_given_when_all_have_failed() {
        use ErrorKind::{ConnectionRefused, NetworkUnreachable, NotFound, PermissionDenied};
        for (behaviours, kind, after) in [
            (&[][..], NotFound, 0),
            (&[Fails(5, ConnectionRefused)], ConnectionRefused, 5),
            (
                &[Fails(0, NetworkUnreachable), Fails(5, ConnectionRefused)],
                ConnectionRefused,
                5,
            ),
            (
                &[Fails(5, ConnectionRefused), Fails(0, NetworkUnreachable)],
                ConnectionRefused,
                5,
            ),
            (
                &[Fails(5, PermissionDenied), Fails(5, ConnectionRefused)],
                PermissionDenied,
                10,
            ),
            (
                &[Fails(900, ConnectionRefused), Fails(5, NetworkUnreachable)],
                ConnectionRefused,
                900,
            ),
        ] {
            let (result, elapsed, _) = dialled(behaviours).await;
            assert_eq!((result, elapsed), (Err(kind), after));
        }
    }

    #[tokio::test]
    async fn an_address_that_drops_what_is_sent_is_not_waited_for() {
        // A listener whose queue is full drops further connections without a word.
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(ATTEMPT_DELAY, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![address, open.local_addr().unwrap()];
        let stream = race(addresses, TcpStream::connect).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open.local_addr().unwrap());
    }
}

//! Pings on a schedule, and deadlines for their pongs (RFC 6455, sections 5.5.2 and 5.5.3).

use std::time::Duration;

use crate::{
    Cause, CloseCode, CloseFrame, Connection, Ended, Event, Limits, Payload, ProtocolError, Role,
    Side, State, Time,
};

use super::pair::{Pair, Stream};
use super::{ROLES, START, Scenario, Seen, close, ended, feed, frame, just_before};

const INTERVAL: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(20);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// What is due for transmission.
fn transmitted(connection: &mut Connection) -> Vec<u8> {
    let mut sent = Vec::new();
    connection.poll_transmit(&mut sent);
    sent
}

fn ping(role: Role, number: u32) -> Vec<u8> {
    frame(role, 0x89, &number.to_be_bytes())
}

/// Feeds the pong for our ping of this number.
#[track_caller]
fn feed_pong(connection: &mut Connection, now: Time, number: u32, round_trip: Option<Duration>) {
    let pong = frame(connection.role().peer(), 0x8a, &number.to_be_bytes());
    let (seen, sent) = feed(connection, now, &[pong]);
    assert_eq!((seen, sent), (vec![Seen::Pong(round_trip)], vec![]));
}

#[test]
fn pings_are_sent_on_a_schedule() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        let mut due = START + INTERVAL;
        for number in 1..5 {
            assert_eq!(connection.poll_timeout(), Some(due));
            connection.handle_timeout(just_before(due));
            assert_eq!(transmitted(&mut connection), b"");
            connection.handle_timeout(due);
            assert_eq!(transmitted(&mut connection), ping(role, number));
            assert_eq!(connection.poll_timeout(), Some(due + TIMEOUT));
            let trip = Duration::from_millis(30 * u64::from(number));
            feed_pong(&mut connection, due + trip, number, Some(trip));
            assert_eq!(connection.round_trip(), Some(trip));
            due = due + INTERVAL;
        }
    }
}

#[test]
fn pong_that_takes_longer_than_the_interval_is_followed_by_a_ping_at_once() {
    for role in ROLES {
        let slow = Scenario::open(role).limits(|limits| {
            limits.pong_timeout = Duration::from_secs(60);
        });
        let mut connection = slow.connection();
        connection.handle_timeout(START + INTERVAL);
        assert_eq!(transmitted(&mut connection), ping(role, 1));
        // While a ping is under way no other is sent.
        connection.handle_timeout(START + 2 * INTERVAL);
        assert_eq!(transmitted(&mut connection), b"");
        let trip = Duration::from_secs(45);
        let now = START + INTERVAL + trip;
        feed_pong(&mut connection, now, 1, Some(trip));
        assert_eq!(connection.poll_timeout(), Some(now));
        connection.handle_timeout(now);
        assert_eq!(transmitted(&mut connection), ping(role, 2));
        assert_eq!(connection.poll_timeout(), Some(now + 3 * INTERVAL));
    }
}

#[test]
fn peer_does_not_answer_a_ping_in_time() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.handle_timeout(START + INTERVAL);
        assert_eq!(transmitted(&mut connection), ping(role, 1));
        let deadline = START + INTERVAL + TIMEOUT;
        connection.handle_timeout(just_before(deadline));
        assert_eq!(connection.state(), State::Open);
        connection.handle_timeout(deadline);
        let reason = "ping was not answered within 20 s";
        assert_eq!(transmitted(&mut connection), close(role, 1011, reason));
        let expected = Ended {
            by: Side::Local,
            cause: Cause::Protocol(ProtocolError::PongTimeout { after: TIMEOUT }),
            sent: Some(CloseFrame {
                code: CloseCode::INTERNAL_ERROR,
                reason: reason.to_owned(),
            }),
            received: None,
        };
        assert_eq!(ended(&connection), expected);
        assert!(connection.write_is_over());
        let closing = deadline + Duration::from_secs(5);
        assert_eq!(connection.poll_timeout(), Some(closing));
        connection.handle_timeout(closing);
        assert!(connection.is_finished());
        assert_eq!(ended(&connection), expected);
    }
}

#[test]
fn whatever_arrives_is_a_sign_of_life_but_only_a_pong_ends_the_wait() {
    for role in ROLES {
        let traffic = [
            frame(role.peer(), 0x81, b"text"),
            frame(role.peer(), 0x81, b"text")[..1].to_vec(),
            frame(role.peer(), 0x89, b""),
            frame(role.peer(), 0x8a, &2_u32.to_be_bytes()),
            frame(role.peer(), 0x8a, b""),
        ];
        for bytes in traffic {
            let mut connection = awaiting_pong(role, b"");
            let now = START + Duration::from_secs(15);
            feed(&mut connection, now, &[&bytes]);
            let later = now + TIMEOUT;
            assert_eq!(connection.poll_timeout(), Some(later), "{bytes:02x?}");
            connection.handle_timeout(START + TIMEOUT);
            assert_eq!(connection.state(), State::Open, "{bytes:02x?}");
            connection.handle_timeout(later);
            assert_eq!(connection.state(), State::Closing, "{bytes:02x?}");
        }
    }
}

#[test]
fn application_pings_and_the_schedule_starts_from_there() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        let now = START + Duration::from_secs(7);
        connection.ping(now);
        assert_eq!(transmitted(&mut connection), ping(role, 1));
        assert_eq!(connection.poll_timeout(), Some(now + TIMEOUT));
        let trip = Duration::from_millis(3);
        feed_pong(&mut connection, now + trip, 1, Some(trip));
        assert_eq!(connection.poll_timeout(), Some(now + INTERVAL));
    }
}

#[test]
fn application_pings_while_a_ping_is_under_way() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.ping(START);
        connection.ping(START);
        assert_eq!(transmitted(&mut connection), ping(role, 1));
        connection.ping(START + Duration::from_secs(1));
        assert_eq!(transmitted(&mut connection), b"");
        assert_eq!(connection.poll_timeout(), Some(START + TIMEOUT));
        let trip = Duration::from_secs(2);
        feed_pong(&mut connection, START + trip, 1, Some(trip));
        feed_pong(&mut connection, START + trip, 1, None);
        connection.ping(START + trip);
        assert_eq!(transmitted(&mut connection), ping(role, 2));
        // The round trip stays known until the next pong.
        assert_eq!(connection.round_trip(), Some(trip));
        feed_pong(&mut connection, START + trip, 1, None);
        feed_pong(&mut connection, START + trip, 2, Some(Duration::ZERO));
        assert_eq!(connection.round_trip(), Some(Duration::ZERO));
    }
}

#[test]
fn without_an_interval_there_are_no_pings_of_our_own() {
    for role in ROLES {
        let quiet = Scenario::open(role).limits(|limits| limits.ping_interval = None);
        let mut connection = quiet.connection();
        assert_eq!(connection.poll_timeout(), None);
        assert_eq!(connection.round_trip(), None);
        connection.handle_timeout(START + 1000 * INTERVAL);
        assert_eq!(transmitted(&mut connection), b"");
        // The application's are awaited all the same.
        connection.ping(START);
        assert_eq!(transmitted(&mut connection), ping(role, 1));
        assert_eq!(connection.poll_timeout(), Some(START + TIMEOUT));
        feed_pong(&mut connection, START + NANOSECOND, 1, Some(NANOSECOND));
        assert_eq!(connection.poll_timeout(), None);
    }
}

/// A ping is under way, and the peer has sent this.
fn awaiting_pong(role: Role, input: &[u8]) -> Connection {
    Scenario::open(role).pings().receives(input).connection()
}

#[test]
fn peer_that_goes_on_with_a_data_frame_gets_time_for_its_pong() {
    for role in ROLES {
        let data = frame(role.peer(), 0x81, b"a long story");
        let (first, rest) = data.split_at(data.len() - 3);
        let mut connection = awaiting_pong(role, first);
        let now = START + Duration::from_secs(19);
        feed(&mut connection, now, &[&rest[..1]]);
        assert_eq!(connection.poll_timeout(), Some(now + TIMEOUT));

        let end = [&rest[1..], &frame(role.peer(), 0x8a, &[0, 0, 0, 1])].concat();
        let trip = Duration::from_secs(30);
        let (seen, _) = feed(&mut connection, START + trip, &[end]);
        assert_eq!(seen, [Seen::text("a long story"), Seen::Pong(Some(trip))]);
        assert_eq!(connection.poll_timeout(), Some(START + trip));
    }
}

#[test]
fn peer_that_says_nothing_more_is_failed_wherever_it_stopped() {
    for role in ROLES {
        let rows = [
            frame(role.peer(), 0x01, b"first fragment"),
            frame(role.peer(), 0x81, b"message"),
            frame(role.peer(), 0x81, b"message")[..9].to_vec(),
            frame(role.peer(), 0x89, b"ping")[..4].to_vec(),
            frame(role.peer(), 0x81, b"")[..1].to_vec(),
        ];
        for input in rows {
            // It arrives when the ping leaves.
            let mut connection = awaiting_pong(role, &input);
            connection.handle_timeout(START + TIMEOUT);
            assert_eq!(
                ended(&connection).cause,
                Cause::Protocol(ProtocolError::PongTimeout { after: TIMEOUT }),
                "{role:?} {input:02x?}"
            );
        }
    }
}

#[test]
fn bytes_that_are_handled_later_are_a_sign_of_life_too() {
    for role in ROLES {
        let mut connection = awaiting_pong(role, b"");
        let now = START + Duration::from_secs(15);
        connection.handle_arrival(now);
        assert_eq!(connection.poll_timeout(), Some(now + TIMEOUT));
        // Never less time than before.
        connection.handle_arrival(START);
        assert_eq!(connection.poll_timeout(), Some(now + TIMEOUT));
    }
}

#[test]
fn a_message_that_is_lent_and_given_back_as_it_was_is_no_sign_of_life() {
    for role in ROLES {
        let data = frame(role.peer(), 0x82, &[7; 100]);
        let mut connection = awaiting_pong(role, &data[..50]);
        let now = START + Duration::from_secs(15);
        let mut partial = connection.lend_partial(1).expect("half of it is missing");
        assert_eq!(connection.return_partial(now, partial), None);
        assert_eq!(connection.poll_timeout(), Some(START + TIMEOUT));
        partial = connection.lend_partial(1).expect("half of it is missing");
        partial.fill(|room| bytes::BufMut::put_u8(room, 0));
        assert_eq!(connection.return_partial(now, partial), None);
        assert_eq!(connection.poll_timeout(), Some(now + TIMEOUT));
    }
}

#[test]
fn without_a_ping_under_way_there_is_nothing_to_postpone() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.handle_arrival(START + Duration::from_secs(5));
        assert_eq!(connection.poll_timeout(), Some(START + INTERVAL));
    }
}

#[test]
fn a_postponed_round_trip_counts_from_the_ping() {
    for role in ROLES {
        let mut connection = awaiting_pong(role, b"");
        connection.handle_arrival(START + Duration::from_secs(15));
        let trip = Duration::from_secs(30);
        feed_pong(&mut connection, START + trip, 1, Some(trip));
    }
}

/// What a driver says at the deadline of a pong, and what comes of it.
struct AtDeadline {
    what: &'static str,
    /// Bytes before the ping, and with it, that have not reached the peer: when the ping has been put
    /// out, and at each deadline.
    unsent: &'static [u64],
    paused: bool,
    /// Whether the connection is OPEN after each deadline.
    open: &'static [bool],
}

/// Bytes that are put out before the ping.
const BEFORE: usize = 1000;

const AT_DEADLINES: [AtDeadline; 8] = [
    AtDeadline {
        what: "all left at once",
        unsent: &[0, 0],
        paused: false,
        open: &[false],
    },
    AtDeadline {
        what: "the ping alone is still here: nothing holds it up",
        unsent: &[6, 6],
        paused: false,
        open: &[false],
    },
    AtDeadline {
        what: "it is behind bytes that get fewer, and leaves then",
        unsent: &[900, 500, 100, 0, 0],
        paused: false,
        open: &[true, true, true, false],
    },
    AtDeadline {
        what: "it is behind bytes that the peer does not take",
        unsent: &[900, 900],
        paused: false,
        open: &[false],
    },
    AtDeadline {
        what: "the peer took some, and then no more",
        unsent: &[900, 500, 500],
        paused: false,
        open: &[true, false],
    },
    AtDeadline {
        what: "we do not read, and it has left",
        unsent: &[0, 0, 0, 0],
        paused: true,
        open: &[true, true, true],
    },
    AtDeadline {
        what: "we do not read, and the peer does not take the ping that follows either",
        unsent: &[0, 0, 1018],
        paused: true,
        open: &[true, false],
    },
    AtDeadline {
        what: "we do not read, and the peer does not take anything",
        unsent: &[900, 900],
        paused: true,
        open: &[false],
    },
];

#[test]
fn a_pong_is_awaited_from_when_its_ping_can_have_left() {
    for role in ROLES {
        for row in &AT_DEADLINES {
            let mut connection = Scenario::open(role).connection();
            let mut wire = Vec::new();
            connection
                .send(Payload::Binary(&[0; BEFORE]), &mut wire)
                .unwrap();
            connection.ping(START);
            assert!(connection.wants_write_progress());
            connection.poll_transmit(&mut wire);
            connection.handle_write_progress(START, row.unsent[0]);
            assert!(!connection.wants_write_progress());
            connection.handle_read_paused(row.paused);
            for (&unsent, &open) in row.unsent[1..].iter().zip(row.open) {
                let now = connection.poll_timeout().unwrap();
                connection.handle_write_progress(now, unsent);
                connection.handle_timeout(now);
                let is_open = connection.state() == State::Open;
                assert_eq!(is_open, open, "{role:?}: {}, at {now:?}", row.what);
                if open && row.paused {
                    // Another ping follows, behind a message that the peer may not take.
                    let message = Payload::Binary(&[0; BEFORE]);
                    connection.send(message, &mut wire).unwrap();
                    connection.poll_transmit(&mut wire);
                    assert!(wire.ends_with(&ping(role, 1)), "{}", row.what);
                }
            }
        }
    }
}

#[test]
fn a_ping_that_is_not_put_out_has_not_left() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        let mut wire = Vec::new();
        connection.ping(START);
        connection.handle_write_progress(START, 0);
        for times in 1..3 {
            let message = Payload::Binary(&[0; BEFORE]);
            connection.send(message, &mut wire).unwrap();
            let now = START + times * TIMEOUT;
            assert_eq!(connection.poll_timeout(), Some(now));
            connection.handle_write_progress(now, 10);
            connection.handle_timeout(now);
            assert_eq!(connection.state(), State::Open, "the peer takes bytes");
        }
    }
}

#[test]
fn ping_is_sent_amid_a_message_of_the_peer() {
    for role in ROLES {
        let begun = Scenario::open(role).receives(&frame(role.peer(), 0x01, b"begun"));
        let mut connection = begun.connection();
        connection.handle_timeout(START + INTERVAL);
        assert_eq!(transmitted(&mut connection), ping(role, 1));
        let pong = frame(role.peer(), 0x8a, &[0, 0, 0, 1]);
        let last = frame(role.peer(), 0x80, b"!");
        let (seen, _) = feed(&mut connection, START + INTERVAL, &[pong, last]);
        let events = [Seen::Pong(Some(Duration::ZERO)), Seen::text("begun!")];
        assert_eq!(seen, events);
    }
}

#[test]
fn pong_and_ping_leave_in_this_order_and_once() {
    for role in ROLES {
        let mut connection = Scenario::open(role).connection();
        connection.ping(START);
        let mut theirs = frame(role.peer(), 0x89, b"theirs");
        let (_, event) = connection.handle_input(START, &mut theirs);
        assert_eq!(event, Some(Event::Ping(b"theirs")));
        let expected = [frame(role, 0x8a, b"theirs"), ping(role, 1)].concat();
        assert_eq!(transmitted(&mut connection), expected);
        assert_eq!(transmitted(&mut connection), b"");
    }
}

#[test]
fn an_idle_pair_stays_open_for_a_day() {
    let mut pair = Pair::new(Limits::default());
    pair.delay = Duration::from_millis(80);
    pair.run_for(Duration::from_secs(24 * 60 * 60));
    for role in ROLES {
        let end = pair.end(role);
        assert_eq!(end.connection.state(), State::Open);
        let trip = Some(Duration::from_millis(160));
        assert_eq!(end.connection.round_trip(), trip);
        let pongs = end.seen.iter().filter(|seen| **seen == Seen::Pong(trip));
        assert_eq!(pongs.count(), 24 * 60 * 3 - 1);
        assert_eq!(end.seen.len(), 2 * (24 * 60 * 3 - 1));
    }
}

#[test]
fn a_peer_that_vanishes_is_found_out_in_bounded_time() {
    for role in ROLES {
        let mut pair = Pair::new(Limits::default());
        pair.run_for(Duration::from_secs(30));
        pair.end(role.peer()).stream = Stream::Vanished;
        pair.run_for(Duration::from_secs(600));
        assert_eq!(pair.end(role).stream, Stream::Dropped);
        assert_eq!(
            ended(&pair.end(role).connection).cause,
            Cause::Protocol(ProtocolError::PongTimeout { after: TIMEOUT })
        );
        // The second ping, its timeout, and the closing handshake's.
        assert_eq!(pair.now - START, Duration::from_secs(40 + 20 + 5));
    }
}

//! The server is told to end (kind 24): who holds it up, and what its port is meanwhile.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::closing::ending;
use super::server::{Options, Server};
use super::wire::{PROMPT, Peer};
use super::{Attack, Script, Told};

pub(super) fn attacks() -> impl Iterator<Item = Attack> {
    let rows: [(&str, &str, Script); 5] = [
        (
            "has sent nothing when the server ends",
            "closed, then ended",
            silent,
        ),
        (
            "is in its handshake when the server ends",
            "closed, then ended | 503, then ended",
            in_handshake,
        ),
        (
            "is in its handshake, beside one who does not close",
            "closed, then ended | 503, then ended",
            beside_one_who_stays,
        ),
        (
            "connects while the server ends",
            "refused, then ended",
            connects,
        ),
        (
            "a successor takes the port while the server ends",
            "served, then ended",
            successor,
        ),
    ];
    let rows = rows.map(|(name, expected, act)| Attack::new(24, name, expected, act));
    rows.into_iter().map(Attack::without_bystander)
}

/// Far below any of the server's timeouts.
const AT_ONCE: Duration = Duration::from_secs(1);
/// What the signal takes to be seen to.
const MOMENT: Duration = Duration::from_millis(200);

fn silent(server: &mut Server) -> Told {
    is_left(server, "")
}

fn in_handshake(server: &mut Server) -> Told {
    is_left(server, "GET /echo HTTP/1.1\r\n")
}

/// It holds the server up for as long as a closing handshake may take, the other does not.
fn beside_one_who_stays(server: &mut Server) -> Told {
    let _open = Peer::upgraded(server.address())?;
    let (_held, told) = told_at_end(server, "GET /echo HTTP/1.1\r\n")?;
    Ok(format!("{told}, then {}", ending(server)?))
}

fn is_left(server: &mut Server, sent: &str) -> Told {
    let start = Instant::now();
    let (_held, told) = told_at_end(server, sent)?;
    let ended = ending(server)?;
    let took = start.elapsed();
    if took > MOMENT + AT_ONCE {
        return Err(format!("{told}, then {ended} after {took:.1?}"));
    }
    Ok(format!("{told}, then {ended}"))
}

/// What somebody gets who has sent this when the server is told to end.
fn told_at_end(server: &Server, sent: &str) -> Result<(Peer, String), String> {
    let mut peer = Peer::connect(server.address())?;
    peer.send(sent.as_bytes())?;
    // It is read before the signal comes.
    thread::sleep(MOMENT);
    server.terminate()?;
    let told = peer.answer_to_request("", AT_ONCE);
    Ok((peer, told))
}

fn connects(server: &mut Server) -> Told {
    let _open = Peer::upgraded(server.address())?;
    server.terminate()?;
    thread::sleep(MOMENT);
    let told = match TcpStream::connect_timeout(&server.address(), PROMPT) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused",
        Err(_) => "left alone",
        Ok(_) => "let in",
    };
    let still_runs = !server.has_ended();
    let ended = ending(server)?;
    if !still_runs {
        return Err("it had ended".to_owned());
    }
    Ok(format!("{told}, then {ended}"))
}

fn successor(server: &mut Server) -> Told {
    let _open = Peer::upgraded(server.address())?;
    server.terminate()?;
    thread::sleep(MOMENT);
    // It tells why, where a started server tells it in more words.
    drop(TcpListener::bind(server.address()).map_err(|error| error.to_string())?);
    let options = Options {
        port: server.port(),
        ..Options::default()
    };
    let other = server.start_another(&options)?;
    let told = match Peer::upgraded(other.address())?.last_words()?.as_str() {
        "\"hi\" 1000" => "served".to_owned(),
        told => told.to_owned(),
    };
    Ok(format!("{told}, then {}", ending(server)?))
}

//! Which pages and which names may reach a server (RFC 6455, section 10.2).

use super::super::START;
use super::server::answer;
use super::{Head, policy};
use crate::Limits;
use crate::handshake::{HeadError, Hosts, Origins, Policy, Refusal, ServerHandshake, quoted};

/// What a server with this policy says to a page with this origin that connects to this host.
fn answer_to(policy: &Policy, origin: &str, host: &str) -> Result<(), Refusal> {
    let head = Head::request()
        .value("Host", host)
        .with(&format!("Origin: {origin}"));
    let answer = answer(policy, &Limits::default(), &head.bytes(), &[]);
    answer.unwrap().map(|_| ())
}

#[track_caller]
fn check_allows(policy: &Policy, origin: &str, host: &str) {
    assert_eq!(
        answer_to(policy, origin, host),
        Ok(()),
        "{origin} at {host}"
    );
}

#[track_caller]
fn check_forbids(policy: &Policy, origin: &str, host: &str) {
    let expected = Refusal::Origin {
        origin: quoted(origin.as_bytes()),
        host: quoted(host.as_bytes()),
    };
    let found = answer_to(policy, origin, host);
    assert_eq!(found, Err(expected), "{origin} at {host}");
}

fn listed(origins: &[&str]) -> Policy {
    let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
    policy(|policy| policy.origins = Origins::Listed(origins))
}

const SAME: [(&str, &str); 12] = [
    ("http://example.com", "example.com"),
    ("https://example.com", "example.com"),
    ("http://example.com", "example.com:80"),
    ("https://example.com", "example.com:443"),
    ("http://example.com:80", "example.com"),
    ("http://example.com:8000", "example.com:8000"),
    ("HTTP://EXAMPLE.com", "example.COM"),
    ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("http://127.0.0.1:8000", "127.0.0.1:8000"),
    ("http://[::1]:8000", "[::1]:8000"),
    ("https://[2001:db8::1]", "[2001:db8::1]"),
    ("http://localhost", "localhost"),
];

const OTHER: [(&str, &str); 34] = [
    ("", "example.com"),
    ("null", "example.com"),
    ("null", "null"),
    ("example.com", "example.com"),
    ("//example.com", "example.com"),
    ("file://example.com", "example.com"),
    ("ws://example.com", "example.com"),
    ("chrome-extension://example.com", "example.com"),
    ("http://other.com", "example.com"),
    ("http://example.com.evil.tld", "example.com"),
    ("https://good.example.evil.tld", "good.example"),
    ("http://evil.tld.example.com", "example.com"),
    ("http://evilexample.com", "example.com"),
    ("http://example.co", "example.com"),
    ("http://www.example.com", "example.com"),
    ("http://example.com.", "example.com"),
    ("http://example.com@evil.tld", "example.com"),
    ("http://evil.tld@example.com", "example.com"),
    ("http://evil.tld/example.com", "example.com"),
    ("http://example.com/", "example.com"),
    ("http://example.com?", "example.com"),
    ("http://example.com:8000", "example.com"),
    ("http://example.com", "example.com:8000"),
    ("http://example.com:8001", "example.com:8000"),
    ("http://example.com", "example.com:443"),
    ("https://example.com", "example.com:80"),
    ("http://example.com:", "example.com"),
    ("http://b\u{fc}cher.example", "xn--bcher-kva.example"),
    ("http://127.0.0.1:8000", "localhost:8000"),
    ("http://localhost:8000", "127.0.0.1:8000"),
    ("http://localhost:8000", "foo.localhost:8000"),
    ("http://localhost:8000", "localhost.:8000"),
    ("http://[::1]:8000", "127.0.0.1:8000"),
    ("http://example.com http://evil.tld", "example.com"),
];

#[test]
fn a_page_may_connect_to_where_it_came_from() {
    for (origin, host) in SAME {
        check_allows(&Policy::default(), origin, host);
    }
    for (origin, host) in OTHER {
        check_forbids(&Policy::default(), origin, host);
    }
}

#[test]
fn refusal_of_a_page_says_which_origin_and_which_host_differ() {
    let refusal = answer_to(
        &Policy::default(),
        "http://localhost:8000",
        "127.0.0.1:8000",
    );
    let text = "cross-origin requests are not allowed: page \"http://localhost:8000\", host \
                \"127.0.0.1:8000\"; both must name the same host and port, or the server must list \
                the origin";
    assert_eq!(refusal.unwrap_err().to_string(), text);
}

#[test]
fn listed_pages_may_connect_too() {
    let policy = listed(&["https://good.example", "http://other.example:8000", "null"]);
    for (origin, host) in SAME {
        check_allows(&policy, origin, host);
    }
    for origin in [
        "https://good.example",
        "HTTPS://Good.Example",
        "http://other.example:8000",
        "null",
    ] {
        check_allows(&policy, origin, "example.com");
    }
    for origin in [
        "http://good.example",
        "https://good.example:8443",
        "https://good.example.evil.tld",
        "https://sub.good.example",
        "https://good.example/",
        "http://other.example",
        "https://good.exampl",
    ] {
        check_forbids(&policy, origin, "example.com");
    }
    for (origin, host) in OTHER.iter().filter(|(origin, _)| *origin != "null") {
        check_forbids(&listed(&[]), origin, host);
    }
}

#[test]
fn any_page_may_connect_where_that_is_asked_for() {
    let policy = policy(|policy| policy.origins = Origins::Any);
    for (origin, host) in SAME {
        check_allows(&policy, origin, host);
    }
    for (origin, host) in OTHER.iter().filter(|(origin, _)| origin.is_ascii()) {
        check_allows(&policy, origin, host);
    }
}

#[test]
fn what_is_no_browser_sends_no_origin_and_may_connect() {
    let policy = listed(&[]);
    let head = Head::request().bytes();
    let answer = answer(&policy, &Limits::default(), &head, &[]);
    assert!(answer.unwrap().is_ok());
}

#[test]
fn two_origins_are_refused() {
    for origins in [Origins::Same, Origins::Any] {
        let policy = policy(|policy| policy.origins = origins);
        let head = Head::request()
            .with("Origin: http://server.example.com")
            .with("Origin: http://server.example.com");
        let answer = answer(&policy, &Limits::default(), &head.bytes(), &[]);
        let expected = Refusal::Repeated { header: "Origin" };
        assert_eq!(answer, Some(Err(expected)));
    }
}

/// What a server that is reached by these hosts says to a request for this one.
#[track_caller]
fn check_host(hosts: &Hosts, host: &str, allowed: bool) {
    let policy = policy(|policy| policy.hosts = hosts.clone());
    let head = Head::request().value("Host", host).bytes();
    let answer = answer(&policy, &Limits::default(), &head, &[]);
    let expected = Refusal::Host {
        host: quoted(host.as_bytes()),
    };
    match answer.unwrap() {
        Ok(_) => assert!(allowed, "{host} with {hosts:?}"),
        Err(refusal) => {
            assert!(!allowed, "{host} with {hosts:?}");
            assert_eq!(refusal, expected);
        }
    }
}

const LOOPBACK: [&str; 16] = [
    "localhost",
    "LocalHost:8000",
    "localhost.",
    "localhost.:8000",
    "foo.localhost",
    "FOO.LocalHost:8000",
    "a.b.localhost.",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.0.0.2",
    "127.255.255.255:8000",
    "127.0.0.0",
    "[::1]",
    "[::1]:8000",
    "[0:0:0:0:0:0:0:1]",
    "[0::0001]",
];

const NOT_LOOPBACK: [&str; 25] = [
    "example.com",
    "localhost.evil.tld",
    "evillocalhost",
    "evil-localhost",
    "localhost.localdomain",
    "localhost..",
    ".localhost",
    "evil..localhost",
    ".",
    "127.0.0.1.evil.tld",
    "127.0.0.1.",
    "126.255.255.255",
    "128.0.0.1",
    "1.127.0.0",
    "127.1",
    "127",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "0.0.0.0",
    "[::]",
    "[::2]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
];

#[test]
fn names_a_server_may_be_reached_by() {
    let listed = Hosts::Listed(vec!["example.com".to_owned(), "[2001:db8::1]".to_owned()]);
    for host in LOOPBACK {
        for hosts in [&Hosts::Any, &Hosts::Loopback, &listed] {
            check_host(hosts, host, true);
        }
    }
    for host in NOT_LOOPBACK {
        check_host(&Hosts::Any, host, true);
        check_host(&Hosts::Loopback, host, false);
        check_host(&listed, host, host == "example.com");
    }
    check_host(&listed, "EXAMPLE.com:8000", true);
    check_host(&listed, "[2001:db8::1]:8000", true);
    check_host(&listed, "www.example.com", false);
    check_host(&listed, "example.com.evil.tld", false);
}

/// What a server on loopback says to the host of a plain request, given in lines.
fn plain_answer(lines: &[&str]) -> Result<(), Refusal> {
    let policy = policy(|policy| policy.hosts = Hosts::Loopback);
    let mut handshake = ServerHandshake::new(START, std::sync::Arc::default());
    let head = Head::new(lines).bytes();
    let request = handshake.handle_input(&head).1.unwrap().unwrap();
    assert_eq!(policy.accept(&request), Err(Refusal::NotUpgrade));
    policy.check_host(&request)
}

#[test]
fn plain_requests_have_their_host_checked_too() {
    let host = |host: &str| Refusal::Host {
        host: format!("\"{host}\""),
    };
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        for (target, lines, expected) in [
            ("/", &["Host: localhost:8000"][..], Ok(())),
            ("/", &["Host: evil.tld"], Err(host("evil.tld"))),
            (
                "/",
                &["Host: a b"],
                Err(Refusal::Malformed { header: "Host" }),
            ),
            (
                "/",
                &["Host: localhost", "Host: localhost"],
                Err(Refusal::Repeated { header: "Host" }),
            ),
            (
                "http://evil.tld/",
                &["Host: localhost"],
                Err(host("evil.tld")),
            ),
        ] {
            let start = format!("GET {target} {version}");
            let lines = [&[start.as_str()], lines].concat();
            assert_eq!(plain_answer(&lines), expected, "{lines:?}");
        }
    }
}

#[test]
fn plain_requests_of_http_1_0_need_no_host() {
    for target in [
        "GET /",
        "OPTIONS /",
        "OPTIONS *",
        "HEAD /",
        "GET http://localhost/",
    ] {
        let found = plain_answer(&[&format!("{target} HTTP/1.0")]);
        assert_eq!(found, Ok(()), "{target}");
        let found = plain_answer(&[&format!("{target} HTTP/1.1")]);
        let missing = Refusal::Missing { header: "Host" };
        assert_eq!(found, Err(missing), "{target}");
    }
    let found = plain_answer(&["GET http://evil.tld/ HTTP/1.0"]);
    assert!(matches!(found, Err(Refusal::Host { .. })), "{found:?}");
}

#[test]
fn host_of_a_url_takes_the_place_of_the_header() {
    let policy = policy(|policy| policy.hosts = Hosts::Loopback);
    let ask = |target: &str, host: &str, origin: &str| {
        let head = Head::request()
            .start(&format!("GET {target} HTTP/1.1"))
            .value("Host", host)
            .with(&format!("Origin: {origin}"));
        let answer = answer(&policy, &Limits::default(), &head.bytes(), &[]);
        answer.unwrap().map(|_| ())
    };
    let (own, other) = ("http://localhost:8000", "http://evil.tld");
    assert_eq!(ask("http://localhost:8000/chat", "evil.tld", own), Ok(()));
    for (target, host, origin) in [
        ("http://evil.tld/chat", "localhost:8000", own),
        ("http://evil.tld/chat", "evil.tld", other),
    ] {
        let expected = Refusal::Host {
            host: "\"evil.tld\"".to_owned(),
        };
        assert_eq!(ask(target, host, origin), Err(expected), "{target}");
    }
    for origin in [other, "http://localhost"] {
        let refusal = ask("http://localhost:8000/chat", "localhost", origin);
        assert!(
            matches!(refusal, Err(Refusal::Origin { .. })),
            "{refusal:?}"
        );
    }
    // The header has to be there all the same, once and well-formed (RFC 9112, section 3.2).
    let head = Head::request().start("GET http://localhost/ HTTP/1.1");
    for (head, expected) in [
        (
            head.clone().without("Host"),
            Refusal::Missing { header: "Host" },
        ),
        (
            head.clone().with("Host: a"),
            Refusal::Repeated { header: "Host" },
        ),
        (
            head.value("Host", "a b"),
            Refusal::Malformed { header: "Host" },
        ),
    ] {
        let answer = answer(&policy, &Limits::default(), &head.bytes(), &[]);
        assert_eq!(answer, Some(Err(expected)));
    }
}

#[test]
fn requests_that_others_have_read_are_checked_as_strictly() {
    let request = |uri: &str| {
        let request = http::Request::get(uri).header("Host", "localhost");
        request.body(()).unwrap()
    };
    let policy = Policy::default();
    assert_eq!(policy.check_host(&request("http://localhost/")), Ok(()));
    let mut http2 = request("http://localhost/");
    *http2.version_mut() = http::Version::HTTP_2;
    http2.headers_mut().clear();
    assert_eq!(policy.check_host(&http2), Ok(()));
    *http2.uri_mut() = "/".parse().unwrap();
    let missing = Refusal::Missing { header: "Host" };
    assert_eq!(policy.check_host(&http2), Err(missing));
    let refusal = policy.check_host(&request("http://user@localhost/"));
    assert_eq!(refusal, Err(Refusal::Head(HeadError::Target)));
}

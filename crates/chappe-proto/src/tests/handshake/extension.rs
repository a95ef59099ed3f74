//! Lists of extensions (RFC 6455, section 9.1), which are read though none is agreed to.

use crate::handshake::extensions::{Extension, Malformed, Parameter, parse};

/// Names, and parameters with their values.
type Plain = Vec<(String, Vec<(String, Option<String>)>)>;

fn plain(extensions: Vec<Extension<'_>>) -> Plain {
    let parameter = |parameter: Parameter<'_>| {
        let value = parameter.value.map(std::borrow::Cow::into_owned);
        (parameter.name.to_owned(), value)
    };
    let plain = extensions.into_iter().map(|extension| {
        let parameters = extension.parameters.into_iter().map(parameter).collect();
        (extension.name.to_owned(), parameters)
    });
    plain.collect()
}

/// One row: the header's lines, and what they hold as `name; parameter=value` again.
#[track_caller]
fn check_reads(lines: &[&str], expected: &[&str]) {
    let parsed = parse(lines.iter().map(|line| line.as_bytes())).unwrap();
    let written = plain(parsed).into_iter().map(|(name, parameters)| {
        let parameters = parameters.into_iter().map(|(name, value)| match value {
            Some(value) => format!("; {name}={value}"),
            None => format!("; {name}"),
        });
        name + &parameters.collect::<String>()
    });
    assert_eq!(written.collect::<Vec<_>>(), expected, "{lines:?}");
}

#[track_caller]
fn check_malformed(line: &[u8]) {
    assert_eq!(parse([line]), Err(Malformed), "{}", line.escape_ascii());
}

#[test]
fn extensions_are_read_in_order() {
    check_reads(&[], &[]);
    check_reads(&["a"], &["a"]);
    check_reads(&["a, b"], &["a", "b"]);
    check_reads(&["a,b", "c"], &["a", "b", "c"]);
    check_reads(&["a, a"], &["a", "a"]);
    // Whether a parameter may be repeated is the extension's to say.
    check_reads(&["a; b=1; b=2; c; b"], &["a; b=1; b=2; c; b"]);
    check_reads(&[",, a\t, ,b ,"], &["a", "b"]);
    for line in ["", " ", ",", ", ,\t,"] {
        check_reads(&[line], &[]);
        check_reads(&["a", line, "b"], &["a", "b"]);
    }
    check_reads(
        &["permessage-deflate; client_max_window_bits; server_max_window_bits=10"],
        &["permessage-deflate; client_max_window_bits; server_max_window_bits=10"],
    );
    check_reads(
        &["a;b=1;c , d;b=2", "e \t; \t f \t= \t g"],
        &["a; b=1; c", "d; b=2", "e; f=g"],
    );
    check_reads(&["!#$%&'*+-.^_`|~09azAZ"], &["!#$%&'*+-.^_`|~09azAZ"]);
}

#[test]
fn quoted_values_are_unquoted() {
    check_reads(&[r#"a; b="c""#], &["a; b=c"]);
    check_reads(&[r#"a; b="\c\d" ; e"#], &["a; b=cd; e"]);
    check_reads(&[r#"a; b= "1", c"#], &["a; b=1", "c"]);
}

#[test]
fn what_is_no_list_of_extensions_is_malformed() {
    for line in [
        ";",
        ",;",
        "=",
        "a b",
        "a;",
        "a;;b",
        "a; ",
        "a; b c",
        "a; b=",
        "a; =c",
        "a; b=c d",
        "a; b==c",
        "a=b",
        "a;b=c=d",
        "a/b",
        "a(b)",
        "\"a\"",
        "a; \"b\"",
        "a; b c=d",
        "a; b=\"",
        "a; b=\"c",
        "a; b=\"c\\",
        "a; b=\"\\",
        "a; b=\"\"",
        "a; b=\"c d\"",
        "a; b=\"c,d\"",
        "a; b=\"c\"d",
        "a; b=c\"d\"",
        "a; b=\"c\" d",
        "a; b=\"\\\"\"",
        "a; b=\"\u{fc}\"",
        "a\u{fc}",
        "a,b;",
    ] {
        check_malformed(line.as_bytes());
    }
    check_malformed(b"a\xff");
    // One bad line among good ones.
    assert_eq!(parse([&b"a"[..], b";"]), Err(Malformed));
}

#[test]
fn extensions_and_parameters_meet_their_limits() {
    let extensions = |count: usize| vec!["x"; count].join(",");
    assert_eq!(parse([extensions(16).as_bytes()]).unwrap().len(), 16);
    check_malformed(extensions(17).as_bytes());
    let empty = |count: usize| ",".repeat(count) + "x";
    assert_eq!(parse([empty(64).as_bytes()]).unwrap().len(), 1);
    check_malformed(empty(65).as_bytes());
    let lines = [empty(40), empty(40)];
    assert_eq!(parse(lines.iter().map(String::as_bytes)), Err(Malformed));
    let lines = vec![&b"x"[..]; 16];
    assert_eq!(parse(lines.clone()).unwrap().len(), 16);
    assert_eq!(parse([lines, vec![b"x"]].concat()), Err(Malformed));

    let parameters = |name: &str, count: usize| {
        let parameters = (0..count).map(|number| format!(";{name}{number}"));
        format!("{name}{}", parameters.collect::<String>())
    };
    assert_eq!(parse([parameters("a", 64).as_bytes()]).unwrap().len(), 1);
    check_malformed(parameters("a", 65).as_bytes());
    let both = [parameters("a", 32), parameters("b", 32)].join(",");
    assert_eq!(parse([both.as_bytes()]).unwrap().len(), 2);
    let both = [parameters("a", 32), parameters("b", 33)].join(",");
    check_malformed(both.as_bytes());
}

#[test]
fn bombs_end_at_once() {
    let quoted = format!("a; b=\"{}", "\\c".repeat(500_000));
    check_malformed(quoted.as_bytes());
    let many = ";p".repeat(500_000);
    check_malformed(format!("a{many}").as_bytes());
    let commas = ",".repeat(1_000_000);
    check_malformed(commas.as_bytes());
    let spaces = " ".repeat(1_000_000);
    check_malformed(format!("a;{spaces}").as_bytes());
}

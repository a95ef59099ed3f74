//! What we may depend on: how many crates, under which licences, from which source.

use std::collections::BTreeSet;
use std::fs;

use crate::run::{self, Outcome, command_in};
use crate::workspace;

/// How many crates the normal tree of each of ours may hold, itself included.
const BUDGETS: [(&str, usize); 3] = [("chappe-proto", 12), ("chappe", 45), ("chappe-cli", 160)];

/// Licences that ask for no more than ours do.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that bring a library of the system's, where we have chosen one in Rust.
const BANNED: [&str; 2] = ["native-tls", "openssl-sys"];

/// Each crate's normal tree is within its budget.
pub(crate) fn check_budgets() -> Outcome {
    let mut failures = Vec::new();
    for (package, budget) in BUDGETS {
        let count = tree(&["--package", package, "--edges", "normal"], "{p}")?.len();
        println!("{package:<14} {count:>4} crates of at most {budget}");
        if count > budget {
            failures.push(format!(
                "{package} has {count} crates, above its budget of {budget}"
            ));
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// Every crate, of all targets and kinds, has an allowed licence, is not banned, and comes from
/// the public registry.
pub(crate) fn check_licences_and_sources() -> Outcome {
    let mut failures = Vec::new();
    let crates = tree(&["--workspace", "--target", "all"], "{p}\t{l}")?;
    for line in &crates {
        let (package, licence) = line.split_once('\t').unwrap_or((line, ""));
        if !is_allowed(licence) {
            failures.push(format!(
                "{package}: the licence {licence:?} is not in the list"
            ));
        }
        if BANNED.contains(&package.split(' ').next().unwrap_or_default()) {
            failures.push(format!("{package}: banned"));
        }
    }
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))
        .map_err(|error| format!("Cargo.lock: {error}"))?;
    let sources = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "));
    for source in sources.filter(|source| !source.contains("/crates.io-index\"")) {
        failures.push(format!(
            "Cargo.lock: a source that is not the public registry: {source}"
        ));
    }
    println!("{} crates", crates.len());
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// The unique lines of `cargo tree`.
fn tree(arguments: &[&str], format: &str) -> Outcome<BTreeSet<String>> {
    let mut command = command_in(&workspace::root(), "cargo");
    command
        .args(["tree", "--prefix", "none", "--format", format])
        .args(arguments);
    let text = run::output(&mut command)?;
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)"));
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Whether an SPDX expression, or one in the older form with slashes, leaves us a choice of
/// allowed licences.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    is_any_allowed(&mut words) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn is_any_allowed(words: &mut Words<'_>) -> bool {
    let mut allowed = are_all_allowed(words);
    while words.next_if_eq(&"OR").is_some() {
        allowed |= are_all_allowed(words);
    }
    allowed
}

fn are_all_allowed(words: &mut Words<'_>) -> bool {
    let mut allowed = is_one_allowed(words);
    while words.next_if_eq(&"AND").is_some() {
        allowed &= is_one_allowed(words);
    }
    allowed
}

fn is_one_allowed(words: &mut Words<'_>) -> bool {
    let Some(word) = words.next() else {
        return false;
    };
    if word == "(" {
        let allowed = is_any_allowed(words);
        return words.next() == Some(")") && allowed;
    }
    let mut name = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{word} WITH {}", words.next().unwrap_or_default());
    }
    LICENCES.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn expressions_are_allowed_when_a_choice_of_ours_satisfies_them() {
        for (expression, allowed) in [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only", false),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND OpenSSL", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
            ("Apache-2.0 WITH Classpath-exception-2.0", false),
            ("(MIT", false),
            ("MIT Apache-2.0", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression), allowed, "{expression}");
        }
    }
}

//! Instructions, as callgrind counts them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::baseline::{Figures, Unit};
use super::{per_operation, program};
use crate::run::{self, Outcome};
use crate::workspace;

/// Without it the C library copies with instructions that move any number of bytes, which count
/// as one each in the processor, but as one a byte in callgrind.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS");

/// Counts the instructions of each subject that `benches/instructions` has.
pub(super) fn measure(figures: &mut Figures) -> Outcome {
    let binary = workspace::release("instructions");
    let list = run::output(Command::new(&binary).arg("--list"))?;
    for line in list.lines() {
        let (subject, operations) = parse_subject(line)
            .ok_or_else(|| format!("{} names no subject: {line:?}", binary.display()))?;
        let once = count(&binary, subject, operations)?;
        let twice = count(&binary, subject, 2 * operations)?;
        let figure = per_operation(once, twice, operations);
        figures.add(Unit::Instructions, subject, figure);
    }
    Ok(())
}

/// A subject and how often it is to be done: `echo-16 16000`.
fn parse_subject(line: &str) -> Option<(&str, u64)> {
    let (subject, operations) = line.split_once(' ')?;
    Some((subject, operations.parse().ok()?))
}

fn count(binary: &Path, subject: &str, operations: u64) -> Outcome<u64> {
    let file = workspace::target().join("callgrind.out");
    let mut command = Command::new(program("valgrind")?);
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(binary)
        .args([subject, &operations.to_string()])
        .env(TUNABLES.0, TUNABLES.1);
    run::output(&mut command)?;
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    total(&text).ok_or_else(|| format!("{} holds no total", file.display()))
}

/// The instructions of a whole run, from the file that callgrind writes.
fn total(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
    total?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_stands_behind_its_word() {
        let text = "\
            # callgrind format\n\
            version: 1\n\
            creator: callgrind-3.19.0\n\
            pid: 27480\n\
            cmd: target/release/instructions echo-16 32000\n\
            positions: line\n\
            events: Ir\n\
            summary: 40314988\n\
            \n\
            fn=(1) totals\n\
            16 3\n\
            calls=2 0\n\
            \n\
            totals: 40314828\n";
        assert_eq!(total(text), Some(40_314_828));
        assert_eq!(total("events: Ir\nsummary: 3\n"), None);
        assert_eq!(total("totals: 1 2\n"), None);
    }

    #[test]
    fn subject_has_a_name_and_a_number() {
        assert_eq!(parse_subject("echo-16 16000"), Some(("echo-16", 16_000)));
        for line in ["", "echo-16", "echo-16 many"] {
            assert_eq!(parse_subject(line), None, "{line:?}");
        }
    }
}

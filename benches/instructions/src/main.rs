//! What `cargo xtask bench --quick` counts the instructions of: `instructions SUBJECT OPERATIONS`.
//!
//! In: a subject's name and how often to do what it measures. Out: nothing but the exit code; the
//! counting is callgrind's. A run with N operations and one with 2 N differ by N operations alone,
//! as all that comes before is the same: so no symbol has to be found in the binary.
//!
//! What is checked is that each operation did what it should, by the bytes that came out.
//!
//! To see where a subject's instructions go, keep the symbols and let callgrind tell:
//!
//! ```text
//! CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
//!     cargo build --release -p chappe-instructions
//! valgrind --tool=callgrind --callgrind-out-file=echo-16.out target/release/instructions echo-16 16000
//! callgrind_annotate echo-16.out
//! ```

mod library;
mod machine;
mod stream;
mod wire;

use std::process::ExitCode;

/// Something whose cost per operation is told.
struct Subject {
    name: &'static str,
    /// How many operations make the rest of a run not matter.
    operations: usize,
    run: fn(operations: usize),
}

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "parse-20",
        operations: 16_000,
        run: machine::parse_short,
    },
    Subject {
        name: "unmask-16k",
        operations: 200,
        run: machine::unmask_long,
    },
    Subject {
        name: "validate-16k",
        operations: 200,
        run: machine::validate_long,
    },
    Subject {
        name: "frame-20",
        operations: 16_000,
        run: machine::frame_short,
    },
    Subject {
        name: "frame-client-20",
        operations: 16_000,
        run: machine::frame_short_masked,
    },
    Subject {
        name: "fragments-8",
        operations: 1_000,
        run: machine::join_fragments,
    },
    Subject {
        name: "echo-1",
        operations: 2_000,
        run: |operations| library::echo_short(operations, 1),
    },
    Subject {
        name: "echo-16",
        operations: 16_000,
        run: |operations| library::echo_short(operations, 16),
    },
    Subject {
        name: "echo-16k",
        operations: 200,
        run: library::echo_long,
    },
    Subject {
        name: "prepared-1",
        operations: 2_000,
        run: library::deliver_prepared,
    },
    Subject {
        name: "handshake",
        operations: 200,
        run: library::shake_hands,
    },
];

const USAGE: &str = "usage: instructions --list | instructions SUBJECT OPERATIONS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--list"] => {
            for subject in SUBJECTS {
                println!("{} {}", subject.name, subject.operations);
            }
            ExitCode::SUCCESS
        }
        [name, operations] => match (find(name), operations.parse()) {
            (Some(subject), Ok(operations)) => {
                (subject.run)(operations);
                ExitCode::SUCCESS
            }
            _ => complain(),
        },
        _ => complain(),
    }
}

fn find(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}

fn complain() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}

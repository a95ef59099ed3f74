//! `cargo xtask bench --quick [--update]`: instructions and system calls, which repeat where
//! seconds do not.
//!
//! In: the release builds of `benches/instructions` and of the example `echo`. Out: a table, and
//! a failure where a figure grew by more than 5 % over `benches/instructions.json`. With
//! `--update` the file is written instead.
//!
//! What the counts depend on: the compiler (so its version stands in the file, and growth under
//! another is only told), the C library's copying, and what the processor can do, where code asks
//! for that as it runs. Callgrind shows programs a processor with AVX2 and without AVX-512,
//! whatever it runs on, provided that this has AVX2 too; all x86-64 servers since 2015 have.

mod baseline;
mod callgrind;
mod calls;

use std::path::PathBuf;

use crate::run::{self, Outcome, command_in};
use crate::workspace;
use baseline::{Baseline, Figures};

const USAGE: &str = "usage: cargo xtask bench --quick [--update]";

/// Measures, and compares or, with `--update`, writes the file.
pub(crate) fn run(rest: &[String]) -> Outcome {
    let update = match rest {
        [] => false,
        [flag] if flag == "--update" => true,
        _ => return Err(USAGE.to_owned()),
    };
    if update {
        return measure()?.write();
    }
    // A file that can't be read is told before anything is built.
    let before = Baseline::read()?;
    let comparison = before.compare(&measure()?);
    print!("{}", comparison.table);
    comparison.outcome
}

fn measure() -> Outcome<Baseline> {
    // Two builds, as features of one package must not reach the other.
    build(&["--package", "chappe-instructions"])?;
    build(&["--package", "chappe", "--example", "echo"])?;
    let mut figures = Figures::default();
    callgrind::measure(&mut figures)?;
    calls::measure(&mut figures)?;
    Ok(Baseline {
        rustc: rustc()?,
        figures,
    })
}

fn build(which: &[&str]) -> Outcome {
    let mut command = command_in(&workspace::root(), "cargo");
    run::run(command.args(["build", "--release"]).args(which))
}

/// The compiler that built what is measured, as it tells its version.
fn rustc() -> Outcome<String> {
    let text = run::output(command_in(&workspace::root(), "rustc").arg("--version"))?;
    Ok(text.trim().to_owned())
}

/// A program that `setup` installs.
fn program(name: &str) -> Outcome<PathBuf> {
    workspace::find_program(name)
        .ok_or_else(|| format!("{name} is missing; `cargo xtask setup` installs it"))
}

/// What one operation costs, from what so many operations cost and what twice as many do. All
/// that comes before the first falls out.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn per_operation(once: u64, twice: u64, operations: u64) -> f64 {
    // Where nothing is counted, a stray call may come in the shorter run.
    twice.saturating_sub(once) as f64 / operations as f64
}

//! `cargo xtask mutants`: does a test object when a line of chappe-proto is changed?

use crate::run::{self, Outcome};
use crate::workspace;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if workspace::find_program("cargo-mutants").is_none() {
        return Err("cargo-mutants is missing; install it by `cargo install cargo-mutants`".into());
    }
    let mut command = run::command_in(&workspace::root(), "cargo");
    run::run(
        command
            .args(["mutants", "--package", "chappe-proto"])
            .args(arguments),
    )
}

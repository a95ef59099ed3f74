//! The workspace's own tasks: `cargo xtask TASK`.
//!
//! One file per task. What a task starts it ends, by process id, also when it fails.

mod attacks;
mod autobahn;
mod bench;
mod ci;
mod dependencies;
mod mutants;
mod run;
mod setup;
mod tidy;
mod workspace;

use std::process::ExitCode;

use run::Outcome;

const HELP: &str = "\
Usage: cargo xtask TASK

Tasks:
  setup                         install or check the programs and peers that the tests need
  ci [--list | STEP...]         all that CI runs, or only the steps named
  autobahn [server|client|all]  the Autobahn suite, all cases without compression
  attacks [--binary PATH] [WORD...]
                                hostile inputs against the release binary; with words, only
                                the rows whose topic or name contains one of them
  bench [--list | --report | OPTION...]
                                Chappe and its peers under the same load (`bench --help`);
                                with --quick, instructions and system calls only
  tidy                          what we agree on and clippy cannot see
  mutants [ARGUMENT...]         cargo-mutants on chappe-proto

  --help                        this text";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Outcome {
    let Some((task, rest)) = arguments.split_first() else {
        return Err(format!("no task named\n\n{HELP}"));
    };
    match task.as_str() {
        "setup" => setup::run(rest),
        "ci" => ci::run(rest),
        "autobahn" => autobahn::run(rest),
        "attacks" => attacks::run(rest),
        "bench" => bench::run(rest),
        "tidy" => tidy::run(rest),
        "mutants" => mutants::run(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(format!("no task is called {other:?}\n\n{HELP}")),
    }
}

//! A program that runs beside a test: its lines are read as they come, its end is awaited, and it
//! never outlives the value.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything in these tests may take. Much more than it does, as machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits something that must not take for ever.
///
/// # Panics
///
/// When it takes too long.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let Ok(output) = timeout(PATIENCE, future).await else {
        panic!("{what} took longer than {PATIENCE:?}");
    };
    output
}

/// The `chappe` command that `CHAPPE_BINARY` names, or else the one beside this test's executable.
///
/// # Panics
///
/// When it is not built.
pub fn chappe() -> Command {
    let file = env::var_os("CHAPPE_BINARY").map_or_else(built_beside, PathBuf::from);
    assert!(
        file.exists(),
        "{} is missing: build it with `cargo build --package chappe-cli`, and with `--release` \
         where the tests have it",
        file.display()
    );
    Command::new(file)
}

/// The tests are in `target/PROFILE/deps`.
fn built_beside() -> PathBuf {
    let test = env::current_exe().expect("a running program has a file");
    let profile = test.ancestors().nth(2).expect("the file is in deps");
    profile.join("chappe")
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: JoinHandle<String>,
}

/// What a program left.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The lines of its standard output that were not read before.
    pub stdout: Vec<String>,
    /// Its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a program.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                let program = command.as_std().get_program().display();
                panic!("{program} can't be started ({error}): run `cargo xtask setup`")
            });
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout).lines(),
            // Read all the while, so that the program never waits for room in the pipe.
            stderr: tokio::spawn(async move {
                let mut bytes = Vec::new();
                let _ = stderr.read_to_end(&mut bytes).await;
                String::from_utf8_lossy(&bytes).into_owned()
            }),
            child,
        }
    }

    /// The process id.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Types something.
    pub async fn write(&mut self, text: &str) {
        let stdin = self
            .stdin
            .as_mut()
            .expect("only the end of this value ends the input");
        // A program that has ended shows in what it left.
        let _ = stdin.write_all(text.as_bytes()).await;
    }

    /// The next line that is printed.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn line(&mut self) -> String {
        let line = self.try_line().await;
        line.unwrap_or_else(|stderr| panic!("it ended, and said: {stderr}"))
    }

    /// The next line that is printed; or, at the end, the standard error. Lines are shown beside
    /// a test that fails.
    pub(crate) async fn try_line(&mut self) -> Result<String, String> {
        let line = within("a line", self.stdout.next_line()).await;
        match line.expect("it prints UTF-8") {
            Some(line) => {
                println!("  {line}");
                Ok(line)
            }
            None => Err(within("standard error", &mut self.stderr)
                .await
                .expect("nobody aborts its reader")),
        }
    }

    /// Ends it as a crash would: with SIGKILL, and no chance to say anything.
    pub async fn kill(&mut self) {
        let killed = within("the end of a killed process", self.child.kill()).await;
        killed.expect("a process of ours can be killed");
    }

    /// Ends the input and waits for the program's own end.
    ///
    /// # Panics
    ///
    /// When it takes too long.
    pub async fn finish(mut self) -> Finished {
        self.stdin = None;
        let mut stdout = Vec::new();
        let stderr = loop {
            match self.try_line().await {
                Ok(line) => stdout.push(line),
                Err(stderr) => break stderr,
            }
        };
        let status = within("the end of a process", self.child.wait()).await;
        Finished {
            code: status.expect("it was started").code(),
            stdout,
            stderr,
        }
    }
}

//! Running other programs: the command line is shown before, and a failure names it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What a task ends with; a failure says what was not as it must be, and the cure.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Runs a command to its end, showing its line and its output.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let line = line(command);
    println!("$ {line}");
    let status = command
        .status()
        .map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` ended with {status}"))
    }
}

/// Runs a command to its end and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let line = line(command);
    let output = command
        .output()
        .map_err(|error| format!("cannot run `{line}`: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "`{line}` ended with {}\n{}",
            output.status,
            complaint.trim_end()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command that uses the network, up to three times.
pub(crate) fn run_with_retries(make: impl Fn() -> Command) -> Outcome {
    const ATTEMPTS: u32 = 3;
    let mut attempt = 1;
    loop {
        match run(&mut make()) {
            Err(failure) if attempt < ATTEMPTS => {
                println!("{failure}; attempt {} of {ATTEMPTS} follows", attempt + 1);
                thread::sleep(Duration::from_secs(2));
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

/// A command in the given folder.
pub(crate) fn command_in(folder: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:./,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// A process that ends with this value, by its id.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let line = line(command);
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start `{line}`: {error}"))?;
        Ok(Self { child })
    }

    /// Starts a server and waits for the first line of its output that `find` accepts. What it
    /// writes afterwards is read and dropped, so that it never waits for room in the pipe.
    pub(crate) fn start_until<T: Send + 'static>(
        command: &mut Command,
        limit: Duration,
        find: impl Fn(&str) -> Option<T> + Send + 'static,
    ) -> Outcome<(Self, T)> {
        let line = line(command);
        let mut running = Self::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = running
            .child
            .stdout
            .take()
            .expect("standard output is piped above");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut text = String::new();
            while let Ok(1..) = reader.read_line(&mut text) {
                if let Some(found) = find(&text) {
                    let _ = sender.send(found);
                    break;
                }
                text.clear();
            }
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        });
        match receiver.recv_timeout(limit) {
            Ok(found) => Ok((running, found)),
            Err(_) => Err(format!(
                "`{line}` did not say within {limit:?} that it is ready"
            )),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end. `None` when the time is up first.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the process's standard input, where it is piped.
    pub(crate) fn end_input(&mut self) {
        self.child.stdin = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

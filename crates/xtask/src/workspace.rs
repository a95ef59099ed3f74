//! Where things are: the checkout, the target folder, the built programs, the tools.

use std::env;
use std::path::{Path, PathBuf};

/// The checkout's top folder.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .ancestors()
        .nth(2)
        .expect("crates/xtask stands two folders below the top")
        .to_owned()
}

/// Where cargo builds: `target`, or what `CARGO_TARGET_DIR` says.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// A program or example of the release build, by its name below `target/release`.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// Where `setup` puts what is not the system's: `target/tools`.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The Python of an environment that `setup` made.
pub(crate) fn python(environment: &Path) -> PathBuf {
    environment.join("bin").join("python")
}

/// The environment that has the pinned `websockets`.
pub(crate) fn websockets() -> PathBuf {
    tools().join("python")
}

/// The environment that has the conformance suite.
pub(crate) fn autobahn() -> PathBuf {
    tools().join("autobahn")
}

/// The folder whose `node_modules` has the pinned `ws`.
pub(crate) fn node() -> PathBuf {
    tools().join("node")
}

/// The folder of the browser's test.
pub(crate) fn browser() -> PathBuf {
    root().join("tests").join("interop").join("browser")
}

/// The first executable of that name on the `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    file.is_file()
}

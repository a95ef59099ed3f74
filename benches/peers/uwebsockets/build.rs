//! Compiles `main.cpp` together with uWebSockets and uSockets.
//!
//! Their sources are those in the crate `libuwebsockets-sys`, where cargo keeps it. All is
//! optimised across files, as their own makefiles do it, and becomes one object file, which needs
//! no plugin of the linker that cargo uses.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=main.cpp");
    let sources = sources().join("uWebSockets");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut objects = compile_usockets(&sources.join("uSockets/src"), &out);
    objects.push(compile_main(&sources, &out));

    let whole = out.join("whole.o");
    run(tool("CXX", "g++")
        .args([
            "-O3",
            "-flto",
            "-flinker-output=nolto-rel",
            "-r",
            "-nostdlib",
            "-o",
        ])
        .arg(&whole)
        .args(objects));
    let library = out.join("libuwebsockets_peer.a");
    let _ = fs::remove_file(&library);
    run(tool("AR", "ar").arg("crs").args([&library, &whole]));

    println!("cargo::rustc-link-search=native={}", out.display());
    println!("cargo::rustc-link-lib=static=uwebsockets_peer");
    println!("cargo::rustc-link-lib=dylib=stdc++");
}

/// The folder of the crate with the sources. Cargo fetches it if it has to.
fn sources() -> PathBuf {
    let output = Command::new(env::var_os("CARGO").expect("cargo sets it"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--features=sources",
        ])
        .arg("--filter-platform")
        .arg(env::var_os("TARGET").expect("cargo sets it"))
        .output()
        .expect("cargo is there, as it runs this");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let package = metadata["packages"]
        .as_array()
        .and_then(|packages| {
            packages
                .iter()
                .find(|one| one["name"] == "libuwebsockets-sys")
        })
        .expect("it is a dependency");
    let manifest = package["manifest_path"]
        .as_str()
        .expect("packages have a manifest");
    Path::new(manifest)
        .parent()
        .expect("it is in a folder")
        .to_owned()
}

/// Compiles the C files of uSockets, without TLS.
fn compile_usockets(sources: &Path, out: &Path) -> Vec<PathBuf> {
    [
        "bsd",
        "context",
        "loop",
        "socket",
        "udp",
        "eventing/epoll_kqueue",
    ]
    .into_iter()
    .map(|name| {
        let object = out.join(name.replace('/', "_")).with_extension("o");
        run(tool("CC", "gcc")
            .args(["-O3", "-flto", "-fPIE", "-std=c11", "-DLIBUS_NO_SSL", "-I"])
            .arg(sources)
            .arg("-c")
            .arg(sources.join(name).with_extension("c"))
            .arg("-o")
            .arg(&object));
        object
    })
    .collect()
}

/// Compiles the server, with the headers that are uWebSockets, without compression.
fn compile_main(sources: &Path, out: &Path) -> PathBuf {
    let object = out.join("main.o");
    run(tool("CXX", "g++")
        .args([
            "-O3",
            "-flto",
            "-fPIE",
            "-std=c++20",
            "-DUWS_NO_ZLIB",
            "-DLIBUS_NO_SSL",
        ])
        .arg("-I")
        .arg(sources.join("src"))
        .arg("-I")
        .arg(sources.join("uSockets/src"))
        .args(["-c", "main.cpp", "-o"])
        .arg(&object));
    object
}

/// A tool of the C++ toolchain, or the one that the environment names instead.
fn tool(variable: &str, default: &str) -> Command {
    println!("cargo::rerun-if-env-changed={variable}");
    Command::new(env::var_os(variable).unwrap_or_else(|| OsString::from(default)))
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} failed");
}

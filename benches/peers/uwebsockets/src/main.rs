//! The peer uWebSockets: the server is C++ (`main.cpp`), this only starts it.

use std::{env, ffi::c_int, process::exit};

unsafe extern "C" {
    /// Serves until the process is killed; returns where it can't.
    safe fn uwebsockets_serve(broadcast: bool) -> c_int;
}

fn main() {
    let broadcast = match env::args().nth(1).as_deref() {
        Some("echo") => false,
        Some("broadcast") => true,
        _ => {
            eprintln!("usage: uwebsockets echo|broadcast");
            exit(2);
        }
    };
    exit(uwebsockets_serve(broadcast));
}

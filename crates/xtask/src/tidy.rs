//! `cargo xtask tidy`: what we agree on and clippy cannot see.
//!
//! Each rule is a function from a file to what is wrong with it. The rules hold for every file of
//! the checkout that is text; folders that are built or downloaded are not looked into.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::Outcome;
use crate::workspace;

/// The files that exist for `unsafe` code.
const UNSAFE_FILES: &[&str] = &[
    "crates/chappe-proto/src/chunk.rs",
    "crates/chappe-proto/src/utf8.rs",
    // Functions of the C library.
    "crates/chappe/src/send_queue.rs",
    "crates/chappe-cli/src/trim.rs",
    // A vector instruction, and a function in C++.
    "benches/peers/floor/src/frame.rs",
    "benches/peers/uwebsockets/src/main.rs",
    // An allocator that counts is unsafe to write.
    "crates/chappe/tests/memory.rs",
];
/// Names that say nothing of what a file holds.
const BANNED_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "types", "manager"];
/// Folders of one person's machine.
const BANNED_WORDS: [&str; 3] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];
const SKIPPED_FOLDERS: [&str; 5] = [
    ".git",
    "target",
    "node_modules",
    "__pycache__",
    "mutants.out",
];
/// Past this a file is looked at for its second subject.
const LINES_EXPECTED: usize = 500;
const LINES_MAX: usize = 700;
const EXAMPLE_LINES_MAX: usize = 60;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(argument) = arguments.first() {
        return Err(format!("tidy takes no argument, but got {argument:?}"));
    }
    let files = read_all(&workspace::root());
    let mut findings = Vec::new();
    for file in &files {
        for rule in RULES {
            let failures = rule(file);
            findings.extend(
                failures
                    .into_iter()
                    .map(|failure| format!("{}: {failure}", file.path)),
            );
        }
    }
    findings.extend(examples_are_listed(&files));
    findings.extend(import_circles(&files));
    for file in files
        .iter()
        .filter(|file| file.is_rust() && file.lines() > LINES_EXPECTED)
    {
        println!(
            "{}: {} lines; look for the second subject",
            file.path,
            file.lines()
        );
    }
    println!("{} files", files.len());
    if findings.is_empty() {
        Ok(())
    } else {
        Err(format!("tidy:\n{}", findings.join("\n")))
    }
}

/// A text file of the checkout.
struct SourceFile {
    /// From the top of the checkout, with slashes.
    path: String,
    text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    fn is_example(&self) -> bool {
        self.is_rust() && self.path.contains("/examples/")
    }

    fn lines(&self) -> usize {
        self.text.lines().count()
    }

    fn is_in(&self, package: &str) -> bool {
        self.path.starts_with(&format!("crates/{package}/"))
    }
}

fn read_all(root: &Path) -> Vec<SourceFile> {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if !SKIPPED_FOLDERS.iter().any(|skipped| name == *skipped) {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path
                    .strip_prefix(root)
                    .expect("it was found below the root");
                let path = path.to_string_lossy().replace('\\', "/");
                files.push(SourceFile { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

const RULES: &[fn(&SourceFile) -> Vec<String>] = &[
    has_header,
    is_not_too_long,
    has_a_telling_name,
    names_no_machine,
    has_no_stray_unsafe,
    is_pure,
    is_a_short_example,
];

/// A Rust file starts with its `//!`, after attributes that hold for all of it.
fn has_header(file: &SourceFile) -> Vec<String> {
    let mut lines = file
        .text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let first = lines.find(|line| !line.starts_with("#!["));
    let missing = file.is_rust() && !first.is_some_and(|line| line.starts_with("//! "));
    failure(missing, "starts without a `//!` that says what it is")
}

fn is_not_too_long(file: &SourceFile) -> Vec<String> {
    let lines = file.lines();
    failure(
        file.is_rust() && lines > LINES_MAX,
        &format!("{lines} lines, more than {LINES_MAX}; it has a second subject"),
    )
}

fn has_a_telling_name(file: &SourceFile) -> Vec<String> {
    let names = file
        .path
        .split('/')
        .map(|name| name.split('.').next().unwrap_or(name));
    let mut banned = names.filter(|name| BANNED_NAMES.contains(name));
    match banned.next() {
        Some(name) => vec![format!("{name:?} does not say what it holds")],
        None => Vec::new(),
    }
}

fn names_no_machine(file: &SourceFile) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        for word in BANNED_WORDS.iter().filter(|word| line.contains(*word)) {
            findings.push(format!(
                "line {number} names a folder of one machine, {word}"
            ));
        }
    }
    findings
}

/// Unsafe code stands only in the files that exist for it.
fn has_no_stray_unsafe(file: &SourceFile) -> Vec<String> {
    const FOLLOWED_BY: [&str; 6] = ["{", "fn", "impl", "trait", "extern", "("];
    let is_unsafe = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices("unsafe").any(|(start, word)| {
            let rest = &code[start + word.len()..];
            !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                && FOLLOWED_BY
                    .iter()
                    .any(|next| rest.trim_start().starts_with(next))
        })
    };
    let stray = file.is_rust()
        && !UNSAFE_FILES.contains(&file.path.as_str())
        && file.text.lines().any(is_unsafe);
    failure(
        stray,
        "holds unsafe code, but is not among the files that exist for it",
    )
}

/// The protocol's crate knows no clock and no runtime.
fn is_pure(file: &SourceFile) -> Vec<String> {
    if !file.is_in("chappe-proto") {
        return Vec::new();
    }
    if file.path.ends_with("/Cargo.toml") {
        return failure(file.text.contains("tokio"), "names tokio");
    }
    let clocks = ["Instant", "SystemTime"];
    let code = file
        .text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let clock = file.is_rust() && code.into_iter().any(|line| names_any(line, &clocks));
    failure(clock, "names a clock; time is a parameter here")
}

fn names_any(line: &str, words: &[&str]) -> bool {
    let mut found = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    found.any(|word| words.contains(&word))
}

fn is_a_short_example(file: &SourceFile) -> Vec<String> {
    let lines = file.lines();
    failure(
        file.is_example() && lines > EXAMPLE_LINES_MAX,
        &format!("{lines} lines, more than the {EXAMPLE_LINES_MAX} of an example"),
    )
}

fn failure(found: bool, text: &str) -> Vec<String> {
    if found {
        vec![text.to_owned()]
    } else {
        Vec::new()
    }
}

/// Each example is named in the README of the checkout or of its crate.
fn examples_are_listed(files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for example in files.iter().filter(|file| file.is_example()) {
        let (package, rest) = example
            .path
            .split_once("/examples/")
            .expect("it is an example");
        let name = rest.split(['/', '.']).next().unwrap_or(rest);
        let readmes = ["README.md".to_owned(), format!("{package}/README.md")];
        let mut readmes = files.iter().filter(|file| readmes.contains(&file.path));
        if !readmes.any(|readme| names_any(&readme.text, &[name])) {
            findings.push(format!("{}: no README lists it", example.path));
        }
    }
    findings
}

/// No two modules of a crate import each other, directly or by way of others.
fn import_circles(files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in ["chappe-proto", "chappe", "chappe-cli"] {
        let modules: Vec<(String, Vec<String>)> = files
            .iter()
            .filter(|file| file.is_in(package) && file.is_rust())
            .filter_map(|file| Some((module_of(&file.path)?, imports(&file.text))))
            .collect();
        for (module, _) in &modules {
            if let Some(way) = way_back(&modules, module) {
                findings.push(format!(
                    "crates/{package}: modules import in a circle: {way}"
                ));
            }
        }
    }
    findings
}

/// `handshake/head` for `crates/chappe-proto/src/handshake/head.rs`; none for what joins the
/// modules, and for tests, which may import what they like.
fn module_of(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("/src/")?;
    let name = rest.strip_suffix(".rs")?;
    let joins = ["lib", "main"].contains(&name) || name.ends_with("mod") || name.contains("tests");
    (!joins).then(|| name.to_owned())
}

/// The modules that the `use crate::…` lines of a file name, outside its tests.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let paths = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("use crate::"));
    // `use crate::{a, b::C}` names two; of `use crate::a::{B, C}` only the first part is a module.
    let paths = paths.flat_map(|path| match path.strip_prefix('{') {
        Some(several) => several.split(", ").collect(),
        None => vec![path],
    });
    let is_module = |part: &&str| part.starts_with(|c: char| c.is_ascii_lowercase());
    let module = |path: &str| {
        let parts = path.trim_end_matches(['}', ';']).split("::");
        parts.take_while(is_module).collect::<Vec<_>>().join("/")
    };
    paths.map(module).collect()
}

/// The shortest chain of imports that leads from a module to itself. Each circle is told once,
/// from the module that stands first in it.
fn way_back(modules: &[(String, Vec<String>)], start: &str) -> Option<String> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen: Vec<String> = Vec::new();
    while !ways.is_empty() {
        let way = ways.remove(0);
        let last = way.last().expect("a way has a start");
        let imports = modules
            .iter()
            .find(|(name, _)| name == last)
            .map(|(_, imports)| imports);
        for next in imports.into_iter().flatten() {
            // An item of a module is imported by a path that goes on past the module's name.
            let is_named = |name: &&String| next == *name || next.starts_with(&format!("{name}/"));
            let names = modules.iter().map(|(name, _)| name);
            let Some(next) = names.filter(is_named).max_by_key(|name| name.len()) else {
                continue;
            };
            if next == start {
                let first = way.iter().min().is_some_and(|module| module == start);
                return first.then(|| format!("{} -> {start}", way.join(" -> ")));
            }
            if !seen.contains(next) && next != last {
                seen.push(next.clone());
                ways.push([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn each_rule_objects_to_its_misdeed_and_to_nothing_else() {
        let long = format!("//! A.\n{}", "\n".repeat(LINES_MAX));
        let machine = format!("//! In {}someone.\n", BANNED_WORDS[0]);
        let stray = format!("//! A.\n{} {{ read() }}\n", "unsafe");
        for (path, text, findings) in [
            ("crates/a/src/lib.rs", "//! A.\n", 0),
            (
                "crates/a/src/lib.rs",
                "#![deny(missing_docs)]\n\n//! A.\n",
                0,
            ),
            ("crates/a/src/lib.rs", "// A.\n", 1),
            ("crates/a/src/lib.rs", &long, 1),
            ("crates/a/src/utils.rs", "//! A.\n", 1),
            ("crates/common/src/lib.rs", "//! A.\n", 1),
            ("crates/a/README.md", &machine, 1),
            ("crates/a/src/lib.rs", &stray, 1),
            ("crates/a/src/lib.rs", "//! Not unsafe { at } all.\n", 0),
            (
                "crates/chappe-proto/src/time.rs",
                "//! A.\nuse std::time::Instant;\n",
                1,
            ),
            (
                "crates/chappe-proto/src/time.rs",
                "//! A.\n// Not an Instant.\n",
                0,
            ),
            (
                "crates/chappe/src/time.rs",
                "//! A.\nuse std::time::Instant;\n",
                0,
            ),
            ("crates/chappe-proto/Cargo.toml", "tokio = \"1\"\n", 1),
        ] {
            let file = file(path, text);
            let found: Vec<_> = RULES.iter().flat_map(|rule| rule(&file)).collect();
            assert_eq!(found.len(), findings, "{path}: {found:?}");
        }
    }

    #[test]
    fn examples_must_be_listed_by_name() {
        let example = "crates/chappe/examples/echo.rs";
        for (readme, findings) in [("See `echo`.", 0), ("See `echoes`.", 1)] {
            let files = [file("README.md", readme), file(example, "//! Echoes.\n")];
            assert_eq!(examples_are_listed(&files).len(), findings, "{readme}");
        }
    }

    #[test]
    fn circles_of_imports_are_told_once() {
        let files = [
            file("crates/chappe/src/lib.rs", "use crate::a::A;\n"),
            file(
                "crates/chappe/src/a.rs",
                "use crate::a::inner::E;\nuse crate::{b, e::inner};\n",
            ),
            file("crates/chappe/src/a/inner.rs", "//! Inside.\n"),
            file("crates/chappe/src/b.rs", "use crate::c::{C, D};\n"),
            file(
                "crates/chappe/src/c.rs",
                "use crate::a::A;\n#[cfg(test)]\nuse crate::d::D;\n",
            ),
            file("crates/chappe/src/d.rs", "use crate::c::C;\n"),
        ];
        let way = "crates/chappe: modules import in a circle: a -> b -> c -> a";
        assert_eq!(import_circles(&files), [way]);
    }
}

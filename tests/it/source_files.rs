//! What holds of every Rust file: it is built, and it is not too long.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FOLDERS: [&str; 4] = ["src", "tests", "benches", "examples"];
const MOST_LINES: usize = 500;
/// Modules whose file is named by a path.
const BY_PATH: [&str; 1] = ["examples/permits/case_tests.rs"];

/// Every Rust file below these folders, by its path from the root of the repository.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut directories: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// The files that nothing builds: no file that could be their parent names them.
fn left_out(files: &[(String, String)]) -> Vec<&str> {
    let mut named: BTreeSet<String> = BTreeSet::new();
    for (path, source) in files {
        let directory = match path.rsplit_once('/') {
            Some((directory, "mod.rs" | "main.rs" | "lib.rs")) => directory.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        for line in source.lines() {
            let line = line.trim().trim_end_matches(';');
            if let Some(at) = line.find("mod ").filter(|_| !line.contains("//")) {
                let name = &line[at + "mod ".len()..];
                named.insert(format!("{directory}/{name}.rs"));
                named.insert(format!("{directory}/{name}/mod.rs"));
            }
        }
    }
    let is_root = |path: &str| path.ends_with("/main.rs") || path.ends_with("/lib.rs");
    let paths = files.iter().map(|(path, _)| path.as_str());
    paths
        .filter(|path| !is_root(path) && !named.contains(*path) && !BY_PATH.contains(path))
        .collect()
}

#[test]
fn every_file_is_built() {
    assert_eq!(left_out(&rust_files(&FOLDERS)), [""; 0]);
}

#[test]
fn a_file_that_its_parent_does_not_name_is_found() {
    let file = |path: &str, source: &str| (path.to_owned(), source.to_owned());
    let files = [
        file("src/lib.rs", "mod named;\n// mod dropped;\nmod folder;"),
        file("src/named.rs", "#[cfg(test)]\nmod tests;"),
        file("src/named/tests.rs", ""),
        file("src/folder/mod.rs", "pub(crate) mod deep;"),
        file("src/folder/deep.rs", ""),
        file("src/dropped.rs", ""),
        file("src/folder/tests.rs", ""),
    ];

    assert_eq!(left_out(&files), ["src/dropped.rs", "src/folder/tests.rs"]);
}

#[test]
fn no_file_is_longer_than_five_hundred_lines() {
    for (path, source) in rust_files(&FOLDERS) {
        let lines = source.lines().count();
        assert!(lines <= MOST_LINES, "{path} has {lines} lines");
    }
}

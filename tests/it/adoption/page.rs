//! docs/adoption.md: every command on the page is run, in its order, and prints what the page says.

use std::{fmt::Write as _, fs, net::TcpListener, path::Path, process::Stdio};

use crate::support::{Backend, postgres, scratch, server::binary};

/// A block of commands, and the lines that the page says it prints.
struct Block {
    commands: String,
    printed: Vec<String>,
}

/// The blocks of the page that are run.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match language {
            "sh" => blocks.push(Block {
                commands: text.join("\n"),
                printed: Vec::new(),
            }),
            "text" => {
                let block = blocks
                    .last_mut()
                    .expect("commands come before their output");
                assert!(block.printed.is_empty(), "two outputs of one block");
                block.printed = text.into_iter().map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    blocks
}

/// Whether a line is as the page says, where `…` stands for anything.
fn is_like(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    // The end is open only where the pattern ends with `…`.
    rest.is_empty() || last == Some("") || last.is_some_and(|last| line.ends_with(last))
}

#[test]
fn a_line_is_like_a_pattern_only_where_all_of_it_fits() {
    for (line, pattern, fits) in [
        ("abc", "abc", true),
        ("abcd", "abc", false),
        ("abcd", "abc…", true),
        ("xabc", "abc", false),
        ("xabcx", "…abc…", true),
        ("a1b2c", "a…b…c", true),
        ("a1b2cd", "a…b…c", false),
        ("ab", "a…x…b", false),
    ] {
        assert_eq!(is_like(line, pattern), fits, "{line} {pattern}");
    }
}

/// The whole page as one script, each block followed by a line that ends it.
fn script(blocks: &[Block], store_url: &str, port: u16) -> String {
    let mut script =
        "set -euo pipefail\nserver=\ntrap '[ -z \"$server\" ] || kill $server 2>/dev/null || true' EXIT\n".to_owned();
    for (number, block) in blocks.iter().enumerate() {
        let commands = block
            .commands
            .replace("postgres://app@db/admin", store_url)
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
            .replace(
                "examples/data",
                &format!("{}/examples/data", env!("CARGO_MANIFEST_DIR")),
            );
        writeln!(script, "{commands}\necho '@@ {number}'").unwrap();
    }
    script
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/adoption.md");
    let blocks = blocks(&fs::read_to_string(page).unwrap());
    assert!(blocks.len() >= 10, "the page has lost its commands");
    let backend = Backend::postgres().await;
    let (directory, port) = (scratch(), free_port());
    let script_file = directory.path().join("page.sh");
    fs::write(&script_file, script(&blocks, &backend.store_url(), port)).unwrap();
    let dormouse = Path::new(env!("CARGO_BIN_EXE_dormouse")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!(
        "{}:{}:{path}",
        dormouse.display(),
        postgres::binaries().display()
    );

    // `timeout` also ends the server, which is in its group.
    let mut command = std::process::Command::new("timeout");
    command
        .args(["--kill-after=5", "300", "bash"])
        .arg(&script_file);
    for (name, _) in binary().get_envs() {
        command.env_remove(name);
    }
    let output = command
        .env("PATH", path)
        .env("NO_PROXY", "*")
        .env("DORMOUSE__HTTP__BIND", format!("127.0.0.1:{port}"))
        .env("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "8")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut lines = printed.lines();
    for (number, block) in blocks.iter().enumerate() {
        let end = format!("@@ {number}");
        let of_block: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        let mut found = of_block.iter();
        for pattern in &block.printed {
            assert!(
                found.any(|line| is_like(line, pattern)),
                "{}\n\nshould print\n{pattern}\n\nand printed\n{}\n\n{errors}",
                block.commands,
                of_block.join("\n"),
            );
        }
        assert!(
            printed.contains(&format!("{end}\n")),
            "it ended in\n{}\n\n{errors}",
            block.commands
        );
    }
    assert!(output.status.success(), "{errors}");
}

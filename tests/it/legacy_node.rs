//! The example service in Node.js, beside a real server on a real PostgreSQL.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::support::{Backend, scratch, server::Server};

const FILES: [&str; 5] = [
    "package.json",
    "package-lock.json",
    "roles.js",
    "ulid.js",
    "test/roles.test.js",
];

#[tokio::test]
async fn a_service_in_node_records_events_beside_its_rows() {
    let backend = Backend::postgres().await;
    let url = backend.store_url();
    let server = Server::start(&[("DORMOUSE__STORE__URL", url.as_str())]).await;
    let directory = scratch();
    copy_example(directory.path());

    run(npm(directory.path()).args(["ci", "--no-audit", "--no-fund"])).await;
    run(npm(directory.path())
        .arg("test")
        .env("DATABASE_URL", &url)
        .env("DORMOUSE_URL", server.url()))
    .await;
}

fn copy_example(to: &Path) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/legacy-node");
    fs::create_dir(to.join("test")).unwrap();
    for file in FILES {
        fs::copy(example.join(file), to.join(file)).unwrap();
    }
}

fn npm(directory: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(directory);
    npm
}

/// Runs a command to its end, which must be a good one. Without Node.js this fails: the test
/// command installs it.
async fn run(command: &mut Command) {
    let mut command =
        tokio::process::Command::from(std::mem::replace(command, Command::new("npm")));
    let ended = tokio::time::timeout(Duration::from_mins(5), command.kill_on_drop(true).output());
    let output = ended
        .await
        .expect("npm ends")
        .expect("npm 10 and Node.js 20 are installed");
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    );
}

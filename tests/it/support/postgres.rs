//! A throwaway PostgreSQL cluster on a free port of 127.0.0.1.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use super::guardian::Guardian;

const START_LIMIT: Duration = Duration::from_mins(1);
const CREATE_LIMIT: Duration = Duration::from_secs(30);
const PORTS_TO_TRY: u32 = 10;
/// "source database is being accessed by other users" (PostgreSQL's manual, appendix A).
const OBJECT_IN_USE: &str = "55006";

/// How a private cluster differs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Whether a commit reaches the disk: needed where a test stops the server under load.
    pub(crate) fsync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { fsync: true }
    }
}

/// A server with a data directory of its own; both are gone after the drop.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: PathBuf,
    options: Options,
    port: u16,
    databases: AtomicU32,
    server: Mutex<Server>,
}

/// The running server, if it runs, and who stops it when the tests end.
#[derive(Debug)]
struct Server {
    process: Option<Child>,
    guardian: Guardian,
}

/// The cluster that all tests share which do not stop it; it starts at the first call.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(Options { fsync: false }))
}

impl Cluster {
    /// Starts a cluster that no other test sees.
    pub(crate) fn start(options: Options) -> Self {
        Self::start_under(&parent(), options)
    }

    /// The same, with its data in a directory in this one, which every user may enter.
    pub(crate) fn start_under(parent: &Path, options: Options) -> Self {
        let (directory, guardian) = directory(parent, "QUIT");
        copy(template(), &directory.join("data"));
        let server = Mutex::new(Server {
            process: None,
            guardian,
        });
        let databases = AtomicU32::new(0);
        let mut cluster = Self {
            directory,
            options,
            port: 0,
            databases,
            server,
        };
        for _ in 0..PORTS_TO_TRY {
            cluster.port = free_port();
            if cluster.try_start() {
                return cluster;
            }
        }
        panic!("no PostgreSQL server could be started:\n{}", cluster.log());
    }

    /// Where a database of this cluster is.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database that no other test knows, and gives its URL.
    pub(crate) async fn create_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let create = format!("create database {name} template template0");
        let started = Instant::now();
        let mut connection = self.administrator().await;
        loop {
            match connection.execute(AssertSqlSafe(create.clone())).await {
                Ok(_) => return self.url(&name),
                Err(sqlx::Error::Database(error))
                    if error.code().as_deref() == Some(OBJECT_IN_USE)
                        && started.elapsed() < CREATE_LIMIT => {}
                Err(error) => panic!("cannot create a database: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Breaks every connection but the one it uses itself.
    pub(crate) async fn terminate_backends(&self) {
        let statement = "select pg_terminate_backend(pid) from pg_stat_activity \
                         where backend_type = 'client backend' and pid <> pg_backend_pid()";
        let done = self.administrator().await.execute(statement).await;
        done.expect("a superuser may terminate backends");
    }

    /// Stops the server at once, without a checkpoint, as a crash would.
    pub(crate) fn stop_immediate(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut process) = server.process.take() {
            kill(pid(&process), Signal::SIGQUIT).expect("the server has not been waited for");
            process.wait().expect("the server is a child");
            server.guardian.forget();
        }
    }

    /// Starts the server again on the same port and data.
    pub(crate) fn start_again(&self) {
        self.stop_immediate();
        let started = Instant::now();
        while !self.try_start() {
            assert!(
                started.elapsed() < START_LIMIT,
                "the server does not start again:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The process number of the server that starts all others, while it runs.
    #[allow(dead_code, reason = "only the chaos bench hurts single processes")]
    pub(crate) fn pid(&self) -> Option<u32> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let process = server.process.as_mut()?;
        let ended = process.try_wait().expect("the server is a child");
        ended.is_none().then(|| process.id())
    }

    async fn administrator(&self) -> sqlx::PgConnection {
        let options: PgConnectOptions = self.url("postgres").parse().expect("a URL of ours");
        options
            .connect()
            .await
            .expect("the cluster takes connections")
    }

    /// Starts the server and waits until it is ready; false when it ended instead.
    fn try_start(&self) -> bool {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let log = File::create(self.directory.join("log")).expect("the directory is there");
        let mut command = postgres("postgres", &self.directory);
        command.arg("-D").arg(self.directory.join("data"));
        for setting in self.settings() {
            command.arg("-c").arg(setting);
        }
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("the server's binary runs");
        server.guardian.watch(process.id());
        let started = Instant::now();
        while !self.is_ready(&process) {
            if process.try_wait().expect("the server is a child").is_some() {
                server.guardian.forget();
                return false;
            }
            assert!(
                started.elapsed() < START_LIMIT,
                "the server is not ready:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server.process = Some(process);
        true
    }

    fn settings(&self) -> [String; 7] {
        let fsync = if self.options.fsync { "on" } else { "off" };
        [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.directory.display()),
            "max_connections=200".to_owned(),
            format!("fsync={fsync}"),
            format!("full_page_writes={fsync}"),
            "log_min_messages=warning".to_owned(),
        ]
    }

    /// The server writes its state into the eighth line of its lock file.
    fn is_ready(&self, process: &Child) -> bool {
        let lock = fs::read_to_string(self.directory.join("data/postmaster.pid"));
        let lock = lock.unwrap_or_default();
        let mut lines = lock.lines().map(str::trim);
        lines.next() == Some(&process.id().to_string()) && lines.nth(6) == Some("ready")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_immediate();
    }
}

fn pid(process: &Child) -> Pid {
    Pid::from_raw(
        process
            .id()
            .try_into()
            .expect("a process number is positive"),
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A directory that the server's user owns, and who removes it.
fn directory(parent: &Path, signal: &str) -> (PathBuf, Guardian) {
    let directory = tempfile::Builder::new()
        .prefix("dormouse-pg-")
        .tempdir_in(parent);
    let directory = directory.expect("a temporary directory").keep();
    let guardian = Guardian::of(&directory, signal);
    if let Some(user) = server_user() {
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        chown(&directory, Some(uid), Some(gid)).expect("root may give a directory away");
    }
    (directory, guardian)
}

fn parent() -> PathBuf {
    // Another user may not be let into root's own TMPDIR.
    if geteuid().is_root() {
        PathBuf::from("/tmp")
    } else {
        std::env::temp_dir()
    }
}

/// An initialised data directory, made once for all clusters of this process.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<(PathBuf, Guardian)> = OnceLock::new();
    let (template, _) = TEMPLATE.get_or_init(|| {
        let (directory, mut guardian) = directory(&parent(), "TERM");
        let initdb = postgres("initdb", &directory)
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["--no-sync", "-D"])
            .arg(directory.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("initdb runs");
        guardian.watch(initdb.id());
        let output = initdb.wait_with_output().expect("initdb is a child");
        guardian.forget();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb failed:\n{errors}");
        (directory.join("data"), guardian)
    });
    template
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(
        copied.expect("cp runs").success(),
        "cp -a {} {}",
        from.display(),
        to.display()
    );
}

/// A command of PostgreSQL's, as a user it accepts: it refuses to run as root.
fn postgres(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(binaries().join(program));
    command
        .current_dir(directory)
        .env("LC_ALL", "C")
        .env_remove("PGDATA");
    if let Some(user) = server_user() {
        // This also drops root's supplementary groups.
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn server_user() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let known = |name| User::from_name(name).ok().flatten();
    let user = known("postgres").or_else(|| known("nobody"));
    Some(user.expect("run as root, the tests need a user named postgres or nobody"))
}

/// Where PostgreSQL's server binaries are.
pub(crate) fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let complete =
            |place: &PathBuf| place.join("initdb").is_file() && place.join("postgres").is_file();
        let search = std::env::var_os("PATH").unwrap_or_default();
        let mut places: Vec<PathBuf> = configured().into_iter().chain(packaged()).collect();
        places.extend(std::env::split_paths(&search));
        places.into_iter().find(complete).expect(
            "the tests need PostgreSQL's server binaries, initdb and postgres: on Debian install \
             `postgresql`, on macOS `brew install postgresql`; scripts/test.sh does the first",
        )
    })
}

fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// Debian's place for each major version, the newest first.
fn packaged() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let numbered = versions.filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        Some((number, version.path().join("bin")))
    });
    let mut numbered: Vec<(u32, PathBuf)> = numbered.collect();
    numbered.sort_by(|left, right| right.cmp(left));
    numbered.into_iter().map(|(_, path)| path).collect()
}

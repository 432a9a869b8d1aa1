//! The real nginx, in the configuration that is shipped, before servers of a test.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::guardian::Guardian;

/// The nodes that the shipped configuration names.
const SHIPPED: [&str; 3] = ["10.0.0.11:8080", "10.0.0.12:8080", "10.0.0.13:8080"];

/// A running nginx; it ends with this value.
#[derive(Debug)]
pub(crate) struct Nginx {
    process: Child,
    guardian: Guardian,
    address: SocketAddr,
}

impl Nginx {
    /// Starts it before these nodes.
    pub(crate) async fn before(nodes: [SocketAddr; 3]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("dormouse-nginx-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let mut guardian = Guardian::of(&directory, "KILL");
        let address = free_address();
        fs::write(directory.join("dormouse.conf"), adapted(nodes, address)).unwrap();
        fs::write(directory.join("nginx.conf"), frame(&directory)).unwrap();
        let process = Command::new("nginx")
            .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
            .arg(&directory)
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .expect("nginx; scripts/test.sh installs it");
        guardian.watch(process.id());
        let nginx = Self {
            process,
            guardian,
            address,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "nginx does not listen"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        nginx
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        self.guardian.forget();
    }
}

/// Debian's administrators have it in their path, others do not.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/usr/local/sbin")
}

/// The shipped configuration, with the addresses of this test.
fn adapted(nodes: [SocketAddr; 3], address: SocketAddr) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx/dormouse.conf");
    let mut shipped = fs::read_to_string(file).unwrap();
    for (named, node) in SHIPPED.into_iter().zip(nodes) {
        assert_eq!(shipped.matches(named).count(), 1, "{named}");
        shipped = shipped.replace(named, &node.to_string());
    }
    assert_eq!(shipped.matches("listen 80;").count(), 1);
    shipped.replace("listen 80;", &format!("listen {address};"))
}

/// One process that stays in the foreground and writes nowhere else.
fn frame(directory: &Path) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};", directory.join(name).display()))
        .join("\n");
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\n{temporary}\ninclude dormouse.conf;\n}}\n"
    )
}

/// An address that nobody listens at for now.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

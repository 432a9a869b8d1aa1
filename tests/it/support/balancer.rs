//! The real nginx or `HAProxy`, in the configuration that is shipped, before servers of a test.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::guardian::Guardian;

/// The nodes that the shipped configurations name.
const SHIPPED: [&str; 3] = ["10.0.0.11:8080", "10.0.0.12:8080", "10.0.0.13:8080"];

/// Which program it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Balancer {
    Nginx,
    Haproxy,
}

/// A running balancer; it ends with this value.
#[derive(Debug)]
pub(crate) struct Balancing {
    process: Child,
    guardian: Guardian,
    address: SocketAddr,
}

impl Balancer {
    pub(crate) const BOTH: [Self; 2] = [Self::Nginx, Self::Haproxy];

    /// Starts it before these nodes.
    pub(crate) async fn before(self, nodes: [SocketAddr; 3]) -> Balancing {
        let directory = tempfile::Builder::new()
            .prefix("dormouse-balancer-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let mut guardian = Guardian::of(&directory, "KILL");
        let address = free_address();
        let process = self
            .command(&directory, nodes, address)
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()
            .expect("nginx and haproxy; scripts/test.sh installs them");
        guardian.watch(process.id());
        let balancing = Balancing {
            process,
            guardian,
            address,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{self:?} does not listen"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        balancing
    }

    /// One process that stays in the foreground and writes nowhere else.
    fn command(self, directory: &Path, nodes: [SocketAddr; 3], address: SocketAddr) -> Command {
        let (shipped, listens) = match self {
            Self::Nginx => ("nginx/dormouse.conf", "listen 80;"),
            Self::Haproxy => ("haproxy/haproxy.cfg", "bind :80\n"),
        };
        let listens_here = listens
            .replace(":80", "80")
            .replace("80", &address.to_string());
        let adapted = adapted(shipped, nodes, (listens, &listens_here));
        fs::write(directory.join("shipped"), adapted).unwrap();
        match self {
            Self::Nginx => {
                fs::write(directory.join("nginx.conf"), frame(directory)).unwrap();
                let mut nginx = Command::new("nginx");
                nginx.args(["-e", "error.log", "-c", "nginx.conf", "-p"]);
                nginx.arg(directory);
                nginx
            }
            Self::Haproxy => {
                let mut haproxy = Command::new("haproxy");
                // As many connections as the descriptors of an ordinary process allow.
                haproxy.args(["-db", "-n", "400", "-f"]);
                haproxy.arg(directory.join("shipped"));
                haproxy
            }
        }
    }
}

impl Balancing {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Balancing {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        self.guardian.forget();
    }
}

/// Debian's administrators have them in their path, others do not.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/usr/local/sbin")
}

/// A shipped configuration, with the addresses of this test.
fn adapted(shipped: &str, nodes: [SocketAddr; 3], (listens, listens_here): (&str, &str)) -> String {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut text = fs::read_to_string(deploy.join(shipped)).unwrap();
    for (named, node) in SHIPPED.into_iter().zip(nodes) {
        assert_eq!(text.matches(named).count(), 1, "{named}");
        text = text.replace(named, &node.to_string());
    }
    assert_eq!(text.matches(listens).count(), 1, "{listens}");
    text.replace(listens, listens_here)
}

fn frame(directory: &Path) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};", directory.join(name).display()))
        .join("\n");
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\n{temporary}\ninclude shipped;\n}}\n"
    )
}

/// An address that nobody listens at for now.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

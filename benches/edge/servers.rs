//! The servers that are compared, each on a file of its own with the same roles in it.

use std::{net::SocketAddr, process::Command};

use dormouse::domain::{Clock as _, SystemClock};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::{
    Failed, Work,
    node::{Node, Setup},
    wire::Wire,
};

/// Roles that are asked for and updated.
const ROLES: usize = 1000;
const KEY: &[u8] = include_bytes!("../../tests/keys/ec.pem");
const PUBLIC_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/ec.pub.pem");
const ISSUER: &str = "bench";

/// How a server knows who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Known {
    /// Not at all.
    Nobody,
    /// By an API key.
    ApiKey,
    /// By a JWT of an elliptic key (ES256), always the same, as a client uses it until it expires.
    Jwt,
}

impl Known {
    pub(crate) const ALL: [Self; 3] = [Self::Nobody, Self::ApiKey, Self::Jwt];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::ApiKey => "API key",
            Self::Jwt => "JWT",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    /// The line of each request that says who asks.
    header: String,
}

impl Served {
    /// Starts a server with roles in its store.
    pub(crate) async fn start(known: Known) -> Result<Self, Failed> {
        let mut settings = vec![("STORE__URL", "sqlite://edge.db".to_owned())];
        if known != Known::Nobody {
            settings.push(("AUTH__MODE", "token".to_owned()));
            settings.push(("AUTH__JWT_KEYS", PUBLIC_KEY.to_owned()));
            settings.push(("AUTH__JWT_ISSUER", ISSUER.to_owned()));
        }
        let settings = settings.into_iter();
        let settings = settings.map(|(name, value)| (format!("DORMOUSE__{name}"), value));
        let node = Node::new(Setup::serve(None, settings.collect()));
        node.start().await;
        let header = match known {
            Known::Nobody => String::new(),
            Known::ApiKey => format!("Authorization: Bearer {}\r\n", api_key(&node)?),
            Known::Jwt => format!("Authorization: Bearer {}\r\n", jwt()?),
        };
        let served = Self {
            address: node.address().ok_or("the server has no address")?,
            node,
            header,
        };
        let mut wire = Wire::open(served.address).await?;
        for role in 0..ROLES {
            let body = json!({"code": format!("C{role}"), "name": "role"}).to_string();
            wire.ask(&served.command(role, "create", &body)).await?;
        }
        Ok(served)
    }

    /// The request of a number; no two updates are of the same name.
    pub(crate) fn request(&self, work: Work, number: usize) -> Vec<u8> {
        let role = number % ROLES;
        match work {
            Work::Read => self.get(&format!("/v1/aggregates/Role/r{role}")),
            Work::Update => {
                let body = format!("{{\"name\":\"role {role}, change {number}\"}}");
                self.command(role, "update", &body)
            }
        }
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{}\r\n", self.header).into_bytes()
    }

    fn command(&self, role: usize, command: &str, body: &str) -> Vec<u8> {
        format!(
            "POST /v1/aggregates/Role/r{role}/commands/{command} HTTP/1.1\r\nHost: bench\r\n{}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.header,
            body.len()
        )
        .into_bytes()
    }

    /// What its process has used of all processors so far, in hundredths of a second.
    pub(crate) fn ticks(&self) -> Result<u64, Failed> {
        let pid = self.node.pid().ok_or("the server does not run")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name stands in brackets and may hold blanks; user and system time are 12 and 13 after it.
        let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
        let times = fields.split_whitespace().skip(11).take(2);
        Ok(times.map(str::parse::<u64>).sum::<Result<u64, _>>()?)
    }
}

fn api_key(node: &Node) -> Result<String, Failed> {
    let made = Command::new(env!("CARGO_BIN_EXE_dormouse"))
        .args([
            "keys",
            "create",
            "--name",
            "bench",
            "--rights",
            "*",
            "--expires",
            "1d",
        ])
        .env("DORMOUSE__STORE__URL", "sqlite://edge.db")
        .current_dir(node.directory())
        .output()?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
    }
    Ok(String::from_utf8(made.stdout)?.trim().to_owned())
}

fn jwt() -> Result<String, Failed> {
    let claims = json!({
        "iss": ISSUER, "aud": "dormouse", "sub": "bench", "rights": ["*"],
        "exp": SystemClock.now().timestamp() + 86_400,
    });
    let key = EncodingKey::from_ec_pem(KEY)?;
    let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key);
    Ok(token?)
}

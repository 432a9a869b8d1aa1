//! `[http]`: where the server listens, and what it lets a client take.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::cores;
use super::lists::{networks, optional_address, origins};
use super::value::{KIB, MIB, address, duration, number, word};

const MAX_BODY: u64 = 64 * MIB;
/// What actix-http reads of a head before it gives up.
const MAX_HEAD: u64 = 128 * KIB;
/// Where `serde_json` stops by itself.
const MAX_DEPTH: u64 = 127;

/// `[http]`: the HTTP server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// The address and port to listen on; default 127.0.0.1:8080, port 0 takes a free one.
    #[serde(deserialize_with = "address")]
    pub bind: SocketAddr,
    /// A second address, to which `/metrics`, `/docs`, `/openapi.json` and `/v1/runtime` move;
    /// without it they are at `bind`.
    #[serde(deserialize_with = "optional_address")]
    pub admin_bind: Option<SocketAddr>,
    /// The proxies whose word about a client's address counts; by default none.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which those proxies tell it; default `X-Forwarded-For`.
    pub forwarded_header: ForwardedHeader,
    /// The origins whose pages may call from a browser (CORS); by default none.
    #[serde(deserialize_with = "origins")]
    pub cors_origins: Vec<String>,
    /// The longest request body, in bytes: 1 KiB to 64 MiB, default 1 MiB.
    #[serde(deserialize_with = "number::<_, _, KIB, MAX_BODY>")]
    pub body_limit: usize,
    /// How long a body may take to arrive: up to a day, default 30s.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// How deep a body's JSON may be nested: 1 to 127, default 64.
    #[serde(deserialize_with = "number::<_, _, 1, MAX_DEPTH>")]
    pub json_depth: usize,
    /// The longest head of a request, in bytes: 1 KiB to 128 KiB, default 32 KiB.
    #[serde(deserialize_with = "number::<_, _, KIB, MAX_HEAD>")]
    pub head_limit: usize,
    /// How long a head may take to arrive, and a TLS handshake: up to a day, default 10s.
    #[serde(deserialize_with = "duration")]
    pub head_timeout: Duration,
    /// How long a request may be worked on before it is answered: up to a day, default 75s.
    #[serde(deserialize_with = "duration")]
    pub handler_timeout: Duration,
    /// How long a client may take nothing of an answer: up to a day, default 60s.
    #[serde(deserialize_with = "duration")]
    pub write_timeout: Duration,
    /// How long a connection may be idle between two requests: up to a day, default 75s.
    #[serde(deserialize_with = "duration")]
    pub keep_alive: Duration,
    /// How long the closing of a connection may take: up to a day, default 1s.
    #[serde(deserialize_with = "duration")]
    pub close_timeout: Duration,
    /// The most open connections: 1 to 1000000, default 10000; more wait to be accepted.
    #[serde(deserialize_with = "number::<_, _, 1, 1_000_000>")]
    pub max_connections: usize,
    /// The most connections that wait to be accepted: 1 to 65535, default 1024.
    #[serde(deserialize_with = "number::<_, _, 1, 65_535>")]
    pub backlog: u32,
    /// The most entries in one page of a list: 1 to 1000, default 1000.
    #[serde(deserialize_with = "number::<_, _, 1, 1000>")]
    pub page_limit: u32,
    /// The most events in a trace: 1 to 100000, default 1000; what is cut off says so.
    #[serde(deserialize_with = "number::<_, _, 1, 100_000>")]
    pub trace_limit: u32,
    /// Threads that serve requests: 0 to 1024, default 0, which is one for each core.
    #[serde(deserialize_with = "number::<_, _, 0, 1024>")]
    pub workers: usize,
}

impl HttpSettings {
    /// The threads that serve requests, with 0 resolved to the number of cores.
    #[must_use]
    pub fn workers(&self) -> usize {
        if self.workers == 0 {
            cores()
        } else {
            self.workers
        }
    }

    /// What the single values cannot say: the key at fault and what it must be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self
            .admin_bind
            .is_some_and(|admin| admin == self.bind && admin.port() != 0)
        {
            let message = "must be another address than `http.bind`";
            return Err(("admin_bind", message.to_owned()));
        }
        Ok(())
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_bind: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            cors_origins: Vec::new(),
            body_limit: 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            json_depth: 64,
            head_limit: 32 * 1024,
            head_timeout: Duration::from_secs(10),
            handler_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_mins(1),
            keep_alive: Duration::from_secs(75),
            close_timeout: Duration::from_secs(1),
            max_connections: 10_000,
            backlog: 1024,
            page_limit: 1000,
            trace_limit: 1000,
            workers: 0,
        }
    }
}

/// In which header proxies tell whom they were asked by. It is one: a proxy that writes the one
/// passes the other on as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl<'de> Deserialize<'de> for ForwardedHeader {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let words = [
            ("x-forwarded-for", Self::XForwardedFor),
            ("forwarded", Self::Forwarded),
        ];
        word(from, &words)
    }
}

//! What is counted at the edge, before a request is any route's.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Collect, Counter, Exposition, Family, Kind};

const CONNECTIONS: Family = Family {
    name: "dormouse_http_connections",
    kind: Kind::Gauge,
    labels: &[],
    help: "Open connections.",
};
const ACCEPTED: Family = Family {
    name: "dormouse_http_connections_opened_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Connections that were accepted.",
};
const TIMEOUTS: Family = Family {
    name: "dormouse_http_timeouts_total",
    kind: Kind::Counter,
    labels: &["what"],
    help: "Clients that were let go: their head, their body, or what they take of an answer took \
           too long; or the work on their request did.",
};
const RATE_LIMITED: Family = Family {
    name: "dormouse_http_rate_limited_total",
    kind: Kind::Counter,
    labels: &["by"],
    help: "Requests that were refused because their caller asks too often.",
};
const TLS_RELOADS: Family = Family {
    name: "dormouse_tls_reloads_total",
    kind: Kind::Counter,
    labels: &["outcome"],
    help: "Looks at the TLS files that found new ones, or could not use them.",
};

/// The counts.
#[derive(Debug, Default)]
pub struct EdgeMeters {
    connections: AtomicU64,
    opened: Counter,
    heads: Counter,
    bodies: Counter,
    handlers: Counter,
    writes: Counter,
    by_address: Counter,
    by_key: Counter,
    reloads: Counter,
    failed_reloads: Counter,
}

impl EdgeMeters {
    pub(in crate::http) fn connection_opened(&self) {
        self.opened.increment();
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::http) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(in crate::http) fn head_timed_out(&self) {
        self.heads.increment();
    }

    pub(in crate::http) fn body_timed_out(&self) {
        self.bodies.increment();
    }

    pub(in crate::http) fn handler_timed_out(&self) {
        self.handlers.increment();
    }

    pub(in crate::http) fn write_timed_out(&self) {
        self.writes.increment();
    }

    pub(in crate::http) fn refused_by_address(&self) {
        self.by_address.increment();
    }

    pub(in crate::http) fn refused_by_key(&self) {
        self.by_key.increment();
    }

    pub(in crate::http) fn tls_reloaded(&self) {
        self.reloads.increment();
    }

    pub(in crate::http) fn tls_reload_failed(&self) {
        self.failed_reloads.increment();
    }
}

impl Collect for EdgeMeters {
    fn collect(&self, exposition: &mut Exposition) {
        let open = self.connections.load(Ordering::Relaxed);
        exposition.family(&CONNECTIONS).sample(&[], open);
        let opened = self.opened.get();
        exposition.family(&ACCEPTED).sample(&[], opened);
        let mut timeouts = exposition.family(&TIMEOUTS);
        timeouts.sample(&["head"], self.heads.get());
        timeouts.sample(&["body"], self.bodies.get());
        timeouts.sample(&["handler"], self.handlers.get());
        timeouts.sample(&["write"], self.writes.get());
        let mut limited = exposition.family(&RATE_LIMITED);
        limited.sample(&["address"], self.by_address.get());
        limited.sample(&["key"], self.by_key.get());
        let mut reloads = exposition.family(&TLS_RELOADS);
        reloads.sample(&["done"], self.reloads.get());
        reloads.sample(&["failed"], self.failed_reloads.get());
    }
}

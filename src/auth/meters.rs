//! What is counted of those who are not let in, and of logins.

use crate::metrics::{Collect, Counter, Exposition, Family, Kind};

const REFUSALS: Family = Family {
    name: "dormouse_auth_refusals_total",
    kind: Kind::Counter,
    labels: &["why"],
    help: "Requests that were not let in, by why: missing, malformed, unknown-key, expired, invalid, unavailable, or forbidden (it is known who asks, and it lacks the right).",
};
const LOGINS: Family = Family {
    name: "dormouse_logins_total",
    kind: Kind::Counter,
    labels: &["outcome"],
    help: "Logins by outcome: granted, refused (name, password or user), limited (too many), failed (nobody knows).",
};

/// Why a request was not let in, as it is counted.
const WHY: [&str; 7] = [
    "missing",
    "malformed",
    "unknown-key",
    "expired",
    "invalid",
    "unavailable",
    "forbidden",
];

/// How a login ended, as it is counted.
const OUTCOMES: [&str; 4] = ["granted", "refused", "limited", "failed"];

#[derive(Debug, Default)]
pub(super) struct AuthMeters {
    refusals: [Counter; WHY.len()],
    logins: [Counter; OUTCOMES.len()],
}

impl AuthMeters {
    pub(super) fn refused(&self, why: &str) {
        count(&self.refusals, &WHY, why);
    }

    pub(super) fn login(&self, outcome: &str) {
        count(&self.logins, &OUTCOMES, outcome);
    }
}

fn count(counters: &[Counter], names: &[&str], name: &str) {
    let place = names.iter().position(|known| *known == name);
    if let Some(counter) = place.and_then(|place| counters.get(place)) {
        counter.increment();
    }
}

impl Collect for AuthMeters {
    fn collect(&self, exposition: &mut Exposition) {
        let mut refusals = exposition.family(&REFUSALS);
        for (name, counter) in WHY.iter().zip(&self.refusals) {
            refusals.sample(&[name], counter.get());
        }
        let mut logins = exposition.family(&LOGINS);
        for (name, counter) in OUTCOMES.iter().zip(&self.logins) {
            logins.sample(&[name], counter.get());
        }
    }
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Missing,
    Malformed,
    UnknownKey,
    Expired,
    Invalid,
    Unavailable,
    /// It is known who asks, and the right is lacking.
    Forbidden,
}

impl Why {
    /// Each, in the order of the counters.
    const ALL: [Self; 7] = [
        Self::Missing,
        Self::Malformed,
        Self::UnknownKey,
        Self::Expired,
        Self::Invalid,
        Self::Unavailable,
        Self::Forbidden,
    ];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown-key",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Forbidden => "forbidden",
        }
    }
}

/// How a login ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginOutcome {
    Granted,
    /// The name, the password or the user is not right.
    Refused,
    /// There were too many.
    Limited,
    /// Nobody knows.
    Failed,
}

impl LoginOutcome {
    /// Each, in the order of the counters.
    const ALL: [Self; 4] = [Self::Granted, Self::Refused, Self::Limited, Self::Failed];

    const fn word(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct AuthMeters {
    refusals: [Counter; Why::ALL.len()],
    logins: [Counter; LoginOutcome::ALL.len()],
}

impl AuthMeters {
    pub(super) fn refused(&self, why: Why) {
        self.refusals[why as usize].increment();
    }

    pub(super) fn login(&self, outcome: LoginOutcome) {
        self.logins[outcome as usize].increment();
    }
}

impl Collect for AuthMeters {
    fn collect(&self, exposition: &mut Exposition) {
        let mut refusals = exposition.family(&REFUSALS);
        for (why, counter) in Why::ALL.iter().zip(&self.refusals) {
            refusals.sample(&[why.word()], counter.get());
        }
        let mut logins = exposition.family(&LOGINS);
        for (outcome, counter) in LoginOutcome::ALL.iter().zip(&self.logins) {
            logins.sample(&[outcome.word()], counter.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_under_its_own_word() {
        for (place, why) in Why::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{why:?}");
        }
        for (place, outcome) in LoginOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "{outcome:?}");
        }
    }
}

//! How often a login may be tried, from where and by which name: bounded in rate and in memory.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    time::Duration,
};

use super::Rate;
use crate::{http::client::ClientAddress, settings::AuthSettings};

const MINUTE: Duration = Duration::from_mins(1);
/// As many as a place can be.
const PLACES: usize = 1 << 16;

/// The rates of logins: so many in a minute, at once or evenly.
///
/// They are counted by places and not by names. Two that share a place share its rate: that makes
/// the limit stricter for them, never looser, and nobody can choose it, for the hash has a secret
/// seed. And a flood of names leaves a stranger nearly its full share, where the last of a list of
/// names would have none.
#[derive(Debug)]
pub(in crate::http) struct LoginRates {
    seed: RandomState,
    by_address: Rate<u16>,
    by_username: Rate<u16>,
}

impl LoginRates {
    pub(in crate::http) fn new(settings: &AuthSettings) -> Self {
        let rate = |a_minute: u32| Rate::every(MINUTE / a_minute.max(1), MINUTE, PLACES);
        Self {
            seed: RandomState::new(),
            by_address: rate(settings.logins_per_address),
            by_username: rate(settings.logins_per_username),
        }
    }

    /// Counts a login, or tells how long to wait before the next; first by its address, so whoever
    /// tries many names uses up its own share only.
    pub(in crate::http) fn admit(
        &self,
        address: Option<ClientAddress>,
        username: &str,
    ) -> Result<(), Duration> {
        self.by_address.admit(self.place(address))?;
        self.by_username.admit(self.place(username))
    }

    fn place(&self, of: impl Hash) -> u16 {
        let [first, second, ..] = self.seed.hash_one(of).to_ne_bytes();
        u16::from_ne_bytes([first, second])
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn rates(logins_per_address: u32, logins_per_username: u32) -> LoginRates {
        LoginRates::new(&AuthSettings {
            logins_per_address,
            logins_per_username,
            ..AuthSettings::default()
        })
    }

    /// Addresses that do not share a place.
    fn addresses<const COUNT: usize>(rates: &LoginRates) -> [Option<ClientAddress>; COUNT] {
        let mut places = std::collections::BTreeSet::new();
        let all = (0..).map(|number: u32| IpAddr::from(number.to_be_bytes()));
        let all = all.map(|address| Some(ClientAddress::new(address)));
        let apart = all.filter(|address| places.insert(rates.place(address)));
        let found: Vec<_> = apart.take(COUNT).collect();
        found.try_into().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_allowed_in_a_minute_and_then_one_at_a_time() {
        let rates = rates(1000, 6);
        let [address] = addresses(&rates);
        let ask = |name: &str| rates.admit(address, name);
        let mut names = (0..).map(|number| format!("bob{number}"));
        let other = names.find(|name| rates.place(name.as_str()) != rates.place("ada"));

        for _ in 0..6 {
            ask("ada").unwrap();
        }
        assert_eq!(ask("ada"), Err(Duration::from_secs(10)));
        assert_eq!(ask(&other.unwrap()), Ok(()));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(ask("ada"), Ok(()));
        assert!(ask("ada").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_used_up_its_share_uses_up_no_names() {
        let rates = rates(2, 3);
        let [one, two, three] = addresses(&rates);
        let ask = |address| rates.admit(address, "ada").is_ok();

        assert_eq!([one, one, one].map(ask), [true, true, false]);
        assert_eq!([two, three].map(ask), [true, false]);
    }
}

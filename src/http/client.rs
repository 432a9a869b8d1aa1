//! Who asks: the address of the client, also behind proxies, and its key once that is verified.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use actix_web::http::header::{FORWARDED, HeaderMap, X_FORWARDED_FOR};
use ipnet::IpNet;

use crate::{auth::Principal, settings::ForwardedHeader};

/// Whom a request is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// Whoever comes from there.
    Address(ClientAddress),
    /// The subject of a verified key or token.
    Key(Arc<str>),
}

impl Caller {
    /// The caller that is known.
    pub(super) fn of(principal: &Principal) -> Self {
        Self::Key(principal.shared_subject())
    }
}

impl From<&ClientAddress> for Caller {
    fn from(address: &ClientAddress) -> Self {
        Self::Address(*address)
    }
}

/// From where a request comes, in its extensions: an address; of IPv6 the network of a site, in
/// which a client may choose its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientAddress(IpAddr);

impl ClientAddress {
    pub(super) fn new(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & SITE)),
        })
    }
}

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The first 64 bits: what a site gets at least (RFC 6177).
const SITE: u128 = !0 << 64;

/// The address of the client: the nearest one that is no trusted proxy's.
///
/// Each proxy adds whom it was asked by at the end, so what stands before the first that is not
/// trusted is only what that one says.
pub(super) fn address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
    header: ForwardedHeader,
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut nearest = peer.to_canonical();
    if !is_trusted(nearest) {
        return nearest;
    }
    let name = match header {
        ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
        ForwardedHeader::Forwarded => FORWARDED,
    };
    let mut lines: Vec<&str> = Vec::new();
    for value in headers.get_all(name) {
        let Ok(line) = value.to_str() else {
            return nearest;
        };
        lines.push(line);
    }
    for line in lines.iter().rev() {
        for element in line.rsplit(',') {
            let said = match header {
                ForwardedHeader::XForwardedFor => parse(element.trim()),
                ForwardedHeader::Forwarded => parse_forwarded(element),
            };
            // A name that hides the client, or nonsense: the proxy is as near as it gets.
            let Some(said) = said else { return nearest };
            nearest = said;
            if !is_trusted(nearest) {
                return nearest;
            }
        }
    }
    nearest
}

/// The `for` of one element of `Forwarded` (RFC 7239, section 4).
fn parse_forwarded(element: &str) -> Option<IpAddr> {
    let of_for = |pair: &str| {
        let (name, value) = pair.trim().split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| parse(value.trim().trim_matches('"')))
    };
    element.split(';').find_map(of_for).flatten()
}

/// An address, perhaps in brackets and with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let alone = text.parse().ok();
    let with_port = || {
        text.parse()
            .map(|address: std::net::SocketAddr| address.ip())
            .ok()
    };
    let bracketed = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse()
            .map(IpAddr::V6)
            .ok()
    };
    let found: Option<IpAddr> = alone.or_else(with_port).or_else(bracketed);
    found.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn client(peer: &str, name: &HeaderName, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_str(line).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let header = if *name == FORWARDED {
            ForwardedHeader::Forwarded
        } else {
            ForwardedHeader::XForwardedFor
        };
        address(peer.parse().unwrap(), &headers, &trusted, header).to_string()
    }

    #[test]
    fn the_word_of_a_stranger_does_not_count() {
        let said = client("192.0.2.1", &X_FORWARDED_FOR, &["198.51.100.7"]);
        assert_eq!(said, "192.0.2.1");
        assert_eq!(
            client("192.0.2.1", &FORWARDED, &["for=198.51.100.7"]),
            "192.0.2.1"
        );
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_is_the_clients() {
        let said = |lines: &[&str]| client("10.0.0.1", &X_FORWARDED_FOR, lines);

        assert_eq!(said(&["198.51.100.7"]), "198.51.100.7");
        // What the client itself sent stands first.
        assert_eq!(said(&["203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            said(&["203.0.113.9", "198.51.100.7, 10.2.3.4"]),
            "198.51.100.7"
        );
        assert_eq!(said(&["10.9.9.9"]), "10.9.9.9");
        assert_eq!(said(&[]), "10.0.0.1");
        assert_eq!(said(&["203.0.113.9, unknown"]), "10.0.0.1");
        assert_eq!(said(&["203.0.113.9,"]), "10.0.0.1");
        assert_eq!(said(&["198.51.100.7:1234"]), "198.51.100.7");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it() {
        let said = |line: &str| client("fd00::1", &FORWARDED, &[line]);

        assert_eq!(
            said("for=192.0.2.43;proto=https;by=203.0.113.60"),
            "192.0.2.43"
        );
        assert_eq!(
            said("For=\"[2001:db8:cafe::17]:4711\""),
            "2001:db8:cafe::17"
        );
        assert_eq!(said("for=\"[2001:db8::1]\", for=10.0.0.9"), "2001:db8::1");
        assert_eq!(said("for=203.0.113.9, for=_hidden"), "fd00::1");
        assert_eq!(said("proto=https"), "fd00::1");
    }

    #[test]
    fn an_address_in_ipv6s_clothes_is_the_same() {
        let said = client(
            "::ffff:10.0.0.1",
            &X_FORWARDED_FOR,
            &["::ffff:198.51.100.7"],
        );
        assert_eq!(said, "198.51.100.7");
    }

    #[test]
    fn a_site_is_one_caller() {
        let at = |text: &str| ClientAddress::new(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}

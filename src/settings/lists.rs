//! Values that may be absent, or more than one: written as a list in the file, and with commas
//! between them in the environment.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use toml::Value;

use super::value::text;

/// An IP address with a port; no text is none.
pub(super) fn optional_address<'de, D>(from: D) -> Result<Option<SocketAddr>, D::Error>
where
    D: Deserializer<'de>,
{
    let wanted = "an IP address and a port, like \"127.0.0.1:9090\", or \"\" for none";
    let given = text(from, wanted)?;
    if given.is_empty() {
        return Ok(None);
    }
    let address = given.parse();
    address.map_or_else(|_| Err(must_be(wanted)), |address| Ok(Some(address)))
}

/// Networks such as `10.0.0.0/8`; an address alone is a network of one.
pub(super) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let wanted = "a list of networks, like [\"10.0.0.0/8\", \"::1\"]";
    let network = |text: &String| {
        let alone = || text.parse::<IpAddr>().map(IpNet::from).ok();
        text.parse().ok().or_else(alone)
    };
    let texts = texts(from, wanted)?;
    let networks: Option<Vec<IpNet>> = texts.iter().map(network).collect();
    networks.ok_or_else(|| must_be(wanted))
}

/// Origins as browsers send them: scheme, host and perhaps a port, and no path.
pub(super) fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let wanted = "a list of origins, like [\"https://app.example.org\"]";
    let texts = texts(from, wanted)?;
    if texts.iter().all(|text| is_origin(text)) {
        return Ok(texts);
    }
    Err(must_be(wanted))
}

/// A wildcard is none: what is open to every page is open to those that an intruder writes.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://");
    let Some(host) = rest.or_else(|| text.strip_prefix("http://")) else {
        return false;
    };
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(plain)
}

/// A list of texts, or one text with commas between them.
fn texts<'de, D: Deserializer<'de>>(from: D, wanted: &str) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::String(all) => Ok(all
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()),
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| must_be(wanted))
        }
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Table(_) => Err(must_be(wanted)),
    }
}

fn must_be<E: serde::de::Error>(wanted: &str) -> E {
    E::custom(format_args!("must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_more() {
        for origin in [
            "https://a.example",
            "http://localhost:3000",
            "http://[::1]:80",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "*",
            "null",
            "https://",
            "a.example",
            "https://a/",
            "https://A",
            "https://*.a",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }
}

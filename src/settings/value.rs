//! How one value is read: the ranges, the units, and one wording for what is wrong.
//!
//! A message completes the sentence that begins with the key ("`store.pool` must be 1 to 200,
//! not 0"). It never repeats text that was given, because that text may hold a password.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Value;
use tracing_subscriber::EnvFilter;

/// The upper end of a number that has no limit of its own: what TOML can write.
pub(super) const UNLIMITED: u64 = i64::MAX.cast_unsigned();
/// Bytes in a kibibyte.
pub(super) const KIB: u64 = 1024;
/// Bytes in a mebibyte.
pub(super) const MIB: u64 = 1024 * KIB;

/// The longest time that a setting may be.
const LONGEST: Duration = Duration::from_hours(24);

/// A whole number from `MIN` to `MAX`, both included.
pub(super) fn number<'de, D, T, const MIN: u64, const MAX: u64>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let range = if MAX == UNLIMITED {
        format!("at least {MIN}")
    } else {
        format!("{MIN} to {MAX}")
    };
    let given = Value::deserialize(from)?;
    let Some(given) = given.as_integer() else {
        return Err(wrong(format_args!("a whole number, {range}"), &given));
    };
    let inside = u64::try_from(given)
        .ok()
        .filter(|number| (MIN..=MAX).contains(number))
        .and_then(|number| T::try_from(number).ok());
    inside.ok_or_else(|| D::Error::custom(format_args!("must be {range}, not {given}")))
}

/// A length of time written with its unit: more than nothing and at most a day.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let wanted = "a time with its unit, like \"30s\" or \"500ms\"";
    let given = text(from, wanted)?;
    let Ok(duration) = humantime::parse_duration(&given) else {
        return Err(D::Error::custom(format_args!("must be {wanted}")));
    };
    if !fits(duration) {
        return Err(D::Error::custom(format_args!(
            "must be more than 0s and at most a day, not {}",
            humantime::format_duration(duration)
        )));
    }
    Ok(duration)
}

/// Whether a length of time is one that a setting may be.
pub(super) fn fits(duration: Duration) -> bool {
    !duration.is_zero() && duration <= LONGEST
}

/// Yes or no.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let given = Value::deserialize(from)?;
    given
        .as_bool()
        .ok_or_else(|| wrong("true or false", &given))
}

/// An IP address with a port.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let wanted = "an IP address and a port, like \"127.0.0.1:8080\"";
    text(from, wanted)?
        .parse()
        .map_err(|_| D::Error::custom(format_args!("must be {wanted}")))
}

/// Directives that the log's filter understands.
pub(super) fn log_filter<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let wanted = "a log filter, like \"info\" or \"info,dormouse=debug\"";
    let given = text(from, wanted)?;
    match EnvFilter::try_new(&given) {
        Ok(_) => Ok(given),
        Err(_) => Err(D::Error::custom(format_args!("must be {wanted}"))),
    }
}

/// One of a few words.
pub(super) fn word<'de, D, T>(from: D, words: &[(&str, T)]) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Clone,
{
    let wanted: Vec<String> = words
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    let wanted = wanted.join(" or ");
    let given = text(from, &wanted)?;
    let found = words.iter().find(|(word, _)| *word == given);
    let (_, value) = found.ok_or_else(|| D::Error::custom(format_args!("must be {wanted}")))?;
    Ok(value.clone())
}

/// A file's name; empty text names none.
pub(super) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let given = text(from, "the name of a file")?;
    Ok((!given.is_empty()).then(|| PathBuf::from(given)))
}

/// Text; `wanted` says in the error what the text should have been.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D, wanted: &str) -> Result<String, D::Error> {
    let given = Value::deserialize(from)?;
    given
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| wrong(wanted, &given))
}

fn wrong<E: serde::de::Error>(wanted: impl Display, given: &Value) -> E {
    let given = match given {
        Value::String(_) => "text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    };
    E::custom(format_args!("must be {wanted}, not {given}"))
}

//! `[otlp]`: where spans are sent, in a program that was built with the feature `otlp`.

use serde::{Deserialize, Deserializer};

use super::value::{number, text};

/// `[otlp]`: spans for an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSettings {
    /// The URL that takes spans (OTLP/HTTP, JSON); default none, then none are made.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Option<String>,
    /// Of how many traces that begin here spans are sent, in percent: 0 to 100, default 100. A
    /// trace that began elsewhere goes by what is decided there.
    #[serde(deserialize_with = "number::<_, _, 0, 100>")]
    pub sample_percent: u32,
    /// The name of the service in its spans; default `dormouse`.
    #[serde(deserialize_with = "name")]
    pub service_name: String,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample_percent: 100,
            service_name: "dormouse".to_owned(),
        }
    }
}

fn endpoint<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let wanted = "an http URL, like \"http://127.0.0.1:4318/v1/traces\", or \"\" for none";
    let given = text(from, wanted)?;
    if given.is_empty() {
        return Ok(None);
    }
    if given.starts_with("http://") {
        return Ok(Some(given));
    }
    Err(serde::de::Error::custom(format_args!("must be {wanted}")))
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, "a name")
}

//! What one client may take: the bounds, who has met them, and how often.

mod depth;
mod logins;
mod meters;
mod rate;

use std::time::Duration;

use actix_web::{HttpRequest, web::Data};

pub(super) use depth::is_deeper_than;
pub(super) use logins::LoginRates;
pub use meters::EdgeMeters;
pub(super) use rate::Rate;

use crate::settings::HttpSettings;

/// What a request may ask for; put it into the app's data to change it.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How deep a body's JSON may be nested.
    pub json_depth: usize,
    /// The most entries in one page.
    pub page: u32,
}

impl RequestLimits {
    /// Those of the settings.
    #[must_use]
    pub const fn of(settings: &HttpSettings) -> Self {
        Self {
            body_timeout: settings.body_timeout,
            json_depth: settings.json_depth,
            page: settings.page_limit,
        }
    }

    /// Those of the app that a request came to.
    pub(super) fn at(request: &HttpRequest) -> Self {
        let own = request.app_data::<Data<Self>>();
        own.map_or_else(Self::default, |own| ***own)
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self::of(&HttpSettings::default())
    }
}

//! `traceparent` (W3C Trace Context): a command's span goes on in the trace that its caller began.

use actix_web::http::header::HeaderMap;
use tracing::Span;

/// Makes the span a child of the one that the headers name, if they do.
#[cfg(feature = "otlp")]
pub(super) fn continue_trace(span: &Span, headers: &HeaderMap) {
    use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    struct Carrier<'a>(&'a HeaderMap);

    impl Extractor for Carrier<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            self.0
                .keys()
                .map(actix_web::http::header::HeaderName::as_str)
                .collect()
        }
    }

    if headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Carrier(headers));
        // Where no spans are sent there is nothing to be a child of.
        let _ = span.set_parent(parent);
    }
}

/// Without the feature no spans are sent anywhere.
#[cfg(not(feature = "otlp"))]
pub(super) const fn continue_trace(_: &Span, _: &HeaderMap) {}

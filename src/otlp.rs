//! Spans for an OpenTelemetry collector, over OTLP/HTTP: the feature `otlp`.
//!
//! The library makes `tracing` spans and knows nothing of this. They are sent in batches by a thread
//! of the SDK's own; a collector that is not there costs nothing but its spans.

use std::sync::OnceLock;

use dormouse::settings::OtlpSettings;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// What sends the spans. It is global because the log that feeds it is.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// A layer of the log that sends spans, where the settings name a collector.
///
/// # Errors
/// The collector's URL cannot be used.
pub(crate) fn layer<S>(
    settings: &OtlpSettings,
) -> Result<Option<impl Layer<S> + use<S>>, ExporterBuildError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let Some(endpoint) = &settings.endpoint else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(endpoint)
        .build()?;
    let own = Sampler::TraceIdRatioBased(f64::from(settings.sample_percent) / 100.0);
    let resource = Resource::builder().with_service_name(settings.service_name.clone());
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(own)))
        .with_resource(resource.build())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("dormouse"));
    // It is started once; a second provider would only have sent nothing.
    let _ = PROVIDER.set(provider);
    // Spans alone: what is logged stays in the log.
    let ours =
        filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("dormouse"));
    Ok(Some(layer.with_filter(ours)))
}

/// Sends what is left, once everything has ended.
pub(crate) fn flush() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown()
    {
        tracing::warn!(%error, "the last spans could not be sent");
    }
}

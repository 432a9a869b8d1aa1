//! The end of a server: connections are let go of as soon as they have their answer.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CONNECTION, HeaderValue},
    middleware::Next,
    web::Data,
};

use crate::runtime::Runtime;

/// A middleware: once the runtime is ending, each answer closes its connection, so that clients
/// go elsewhere and the server need not wait for them.
///
/// # Errors
/// Those of the service it wraps.
pub async fn close_when_ending<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let runtime = request.app_data::<Data<Runtime>>().cloned();
    let mut response = next.call(request).await?;
    if runtime.is_some_and(|runtime| runtime.is_ending()) {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

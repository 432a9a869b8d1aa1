//! `GET /docs`: Swagger UI, from this binary alone. Nothing is loaded from elsewhere and no script
//! stands in a page, so that a strict content security policy may forbid both.

use std::sync::{Arc, LazyLock};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
};
use utoipa_swagger_ui::{Config, serve};

use crate::http::{
    problem::{Code, Problem},
    request::{query, segment},
};

/// The page; its links are relative, so that it may lie below any prefix.
const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="UTF-8">
    <title>dormouse</title>
    <link rel="stylesheet" href="docs/swagger-ui.css">
    <link rel="stylesheet" href="docs/index.css">
    <link rel="icon" type="image/png" href="docs/favicon-32x32.png" sizes="32x32">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="docs/swagger-ui-bundle.js" charset="UTF-8"></script>
    <script src="docs/swagger-ui-standalone-preset.js" charset="UTF-8"></script>
    <script src="docs/swagger-initializer.js" charset="UTF-8"></script>
  </body>
</html>
"#;

/// Seen from the page. The validator would be a badge from someone else's server.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::new(["openapi.json"]);
    Arc::new(config.validator_url("none").use_base_layout())
});

/// `GET /docs`
pub(in crate::http) async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    query(&request, &[])?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(PAGE))
}

/// `GET /docs/{file}`
pub(in crate::http) async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    query(&request, &[])?;
    let name = segment(&request, "file");
    let not_found = || Problem::new(Code::NotFound, "there is no such file");
    if name.is_empty() || name == "index.html" {
        return Err(not_found());
    }
    let found = serve(name, Arc::clone(&CONFIG)).map_err(|error| {
        tracing::error!(%error, "Swagger UI cannot be configured");
        Problem::new(
            Code::Internal,
            "a bug here; the log of the server says more",
        )
    })?;
    let file = found.ok_or_else(not_found)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, file.content_type))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(file.bytes.into_owned()))
}

//! A server that answers before it flushes: what the check of flushes must catch.
//!
//! It is this program and not the shipped one, which has no way to be started so.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{App, HttpServer, rt::System, web::Data};
use dormouse::{
    http,
    iam::{self, PasswordHasher, PasswordSettings},
    runtime::Runtime,
    settings::Settings,
    store::{EventStore, sqlite::SqliteStore},
};

/// Serves until it is killed.
pub(crate) fn serve(url: &str, bind: SocketAddr) {
    System::new().block_on(async {
        let options = super::unflushed_options(&Settings::default().store);
        let store = SqliteStore::connect(url, options).await;
        let store: Arc<dyn EventStore> = Arc::new(store.expect("the store opens"));
        let hasher = PasswordHasher::new(PasswordSettings::default()).expect("a hasher");
        let runtime = iam::register(Runtime::builder(store), &hasher)
            .start()
            .await;
        let runtime = Data::new(runtime.expect("the runtime starts"));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(runtime.clone())
                .configure(http::configure)
        })
        .workers(1)
        .bind(bind)
        .expect("a free port");
        for address in server.addrs() {
            eprintln!("listening on http://{address}");
        }
        server.run().await.expect("it serves");
    });
}

//! The real server, killed and started again on the same store while callers go on.

use super::{load::Load, scale};
use crate::support::{Backend, server::Server};

const CRASHES: usize = 10;

async fn killed_under_load(backend: Backend) {
    let url = backend.store_url();
    let settings = [("DORMOUSE__STORE__URL", url.as_str())];
    let mut server = Server::start(&settings).await;
    let mut load = Load::start(vec![server.url()]);

    for _ in 0..CRASHES * scale() {
        load.progress(40).await;
        server.kill9();
        server = Server::start(&settings).await;
        load.redirect(vec![server.url()]);
    }
    load.progress(40).await;

    // SQLite's file belongs to the server until it ends.
    let last = load.stop().await;
    assert_eq!(server.terminate().code(), Some(0));
    last.check(&url).await;
}

#[tokio::test]
async fn no_acknowledged_command_is_lost_or_doubled_by_kill_9_on_sqlite() {
    killed_under_load(Backend::sqlite()).await;
}

#[tokio::test]
async fn no_acknowledged_command_is_lost_or_doubled_by_kill_9_on_postgres() {
    killed_under_load(Backend::postgres().await).await;
}

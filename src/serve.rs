//! `dormouse serve`: the server, from the open store to the last answer.

use std::{process::ExitCode, sync::Arc};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web::{self, Data},
};
use dormouse::{
    auth::Authenticator,
    domain::{SystemClock, error_chain},
    http::{self, BodyLimit, EventStreams, Guard, ReadModels, TraceLimit},
    iam::{self, PasswordHasher, PasswordSettings, PasswordSignIn, UserDirectory, UserSearch},
    projection::{Projections, Subscriptions},
    runtime::Runtime,
    settings::{AuthMode, IamSettings, Kept, Settings, StoreKind, Writers},
    store,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// Seconds that open connections get once all commands are answered: only idle ones are left.
const CONNECTIONS_TIMEOUT_SECONDS: u64 = 1;

/// Runs the command to its end.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    match actix_web::rt::System::new().block_on(serve(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    check_openness(settings)?;
    let asked_to_end = asked_to_end()?;
    let store = store::open(&settings.store).await?;
    let hasher = PasswordHasher::new(password_settings(&settings.iam))?;
    let builder = Runtime::builder(Arc::clone(&store)).settings(settings.clone());
    let runtime = iam::register(builder, &hasher).start().await?;
    let (projections, models) = projections(settings, &store)?;
    let subscriptions = Subscriptions::new(Arc::clone(&store), settings.streams.clone());
    let streams = EventStreams::new(Arc::clone(&store), subscriptions, settings.streams.clone());
    let guard = guard(settings, &store, &runtime, hasher).await?;
    let server = bind(settings, &runtime, models, &streams, guard)?;
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    let exclusive = settings.store.writers() == Writers::Exclusive;
    info!(store = %settings.store.url, exclusive, "ready");

    asked_to_end.await;
    // Their clients come back to another server; nobody waits for them.
    streams.close();
    end(&runtime, &projections, &handle, &*store).await;
    running.await??;
    Ok(())
}

/// Where nobody is asked who he is, nobody else may reach the port, unless that is meant.
fn check_openness(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    let bind = settings.http.bind;
    if settings.auth.mode == AuthMode::Token {
        return Ok(());
    }
    if !bind.ip().is_loopback() {
        if !settings.http.allow_open {
            return Err(format!(
                "auth.mode is \"none\", so everybody who reaches {bind} could do everything: set \
                 auth.mode = \"token\", bind to 127.0.0.1, or set http.allow_open = true"
            )
            .into());
        }
        warn!(%bind, "auth.mode is \"none\" and http.allow_open is true: everybody who reaches the port may do everything");
        return Ok(());
    }
    info!("auth.mode is \"none\": everybody on this machine may do everything");
    Ok(())
}

/// Who is let in; nothing where everybody is.
async fn guard(
    settings: &Settings,
    store: &Arc<dyn store::EventStore>,
    runtime: &Runtime,
    hasher: PasswordHasher,
) -> Result<Option<Guard>, Box<dyn std::error::Error>> {
    if settings.auth.mode == AuthMode::None {
        return Ok(None);
    }
    let authenticator =
        Authenticator::start(&settings.auth, store.api_keys(), Arc::new(SystemClock)).await?;
    let login = authenticator.can_issue();
    let mut guard = Guard::new(authenticator);
    if login {
        let sign_in = PasswordSignIn::new(Arc::clone(store), runtime, hasher).await?;
        guard = guard.with_sign_in(Arc::new(sign_in));
    }
    info!(
        jwt = settings.auth.jwt_keys.is_some(),
        login, "auth.mode is \"token\": a request needs a token with the right to it"
    );
    Ok(Some(guard))
}

/// Starts the read models that the settings ask for. Those of the reference domain have tables, so
/// on the memory store there are none.
fn projections(
    settings: &Settings,
    store: &Arc<dyn store::EventStore>,
) -> Result<(Projections, ReadModels), Box<dyn std::error::Error>> {
    let mut builder =
        Projections::builder(Arc::clone(store)).settings(settings.projections.clone());
    let kept = match settings.store.url.kind() {
        StoreKind::Memory => Kept::Off,
        StoreKind::Sqlite | StoreKind::Postgres => settings.projections.user_directory,
    };
    builder = match kept {
        Kept::Off => builder,
        Kept::Async => builder.projection(UserDirectory),
        Kept::Inline => builder.inline(UserDirectory),
    };
    let projections = builder.start()?;
    let mut models = ReadModels::new(projections.clone());
    if kept != Kept::Off {
        models = models.with(UserSearch);
    }
    Ok((projections, models))
}

fn bind(
    settings: &Settings,
    runtime: &Runtime,
    models: ReadModels,
    streams: &EventStreams,
    guard: Option<Guard>,
) -> Result<Server, Box<dyn std::error::Error>> {
    let limit = BodyLimit(settings.http.body_limit);
    let trace_limit = TraceLimit(settings.http.trace_limit);
    let app_runtime = runtime.clone();
    let models = Data::new(models);
    let streams = Data::new(streams.clone());
    let guard = guard.map(Data::new);
    let server = HttpServer::new(move || {
        let guard = guard.clone();
        App::new()
            .app_data(Data::new(app_runtime.clone()))
            .app_data(Data::new(limit))
            .app_data(Data::new(trace_limit))
            .app_data(models.clone())
            .app_data(streams.clone())
            .wrap(from_fn(http::close_when_ending))
            .configure(|app| {
                if let Some(guard) = guard {
                    app.app_data(guard);
                }
                http::configure(app);
            })
            .default_service(web::to(http::not_found))
    })
    .workers(settings.http.workers())
    // An event of a stream must not wait until the client has acknowledged the one before.
    .tcp_nodelay(true)
    .disable_signals()
    .shutdown_timeout(CONNECTIONS_TIMEOUT_SECONDS)
    .bind(settings.http.bind)
    .map_err(|error| format!("cannot listen on {}: {error}", settings.http.bind))?;
    for address in server.addrs() {
        info!("listening on http://{address}");
    }
    Ok(server.run())
}

pub(crate) fn password_settings(settings: &IamSettings) -> PasswordSettings {
    PasswordSettings {
        concurrency: u32::try_from(settings.hash_concurrency()).unwrap_or(u32::MAX),
        queue: u32::try_from(settings.hash_queue).unwrap_or(u32::MAX),
        memory_kib: settings.argon2_memory_kib,
        iterations: settings.argon2_iterations,
        parallelism: settings.argon2_parallelism,
    }
}

/// Listens for signals from the call on, not only once it is awaited.
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: answering what was taken"),
            _ = interrupt.recv() => info!("SIGINT: answering what was taken; once more ends at once"),
        }
        // The second is for whoever does not want to wait.
        actix_web::rt::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            warn!("asked again: ending at once");
            std::process::exit(1);
        });
    })
}

/// New commands are refused from here on; what was taken is answered before connections close.
async fn end(
    runtime: &Runtime,
    projections: &Projections,
    handle: &ServerHandle,
    store: &dyn store::EventStore,
) {
    let ended = runtime.shutdown().await;
    handle.stop(true).await;
    projections.shutdown().await;
    store.close().await;
    if ended.unanswered == 0 {
        info!("ended; everything that was taken is answered");
    } else {
        warn!(
            unanswered = ended.unanswered,
            "ended without having answered everything"
        );
    }
}

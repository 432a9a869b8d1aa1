//! `dormouse serve`: the server, from the open store to the last answer.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use actix_web::{
    App,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web::{self, Data},
};
use dormouse::{
    adoption::{self, Adoption, DriftWatch},
    auth::Authenticator,
    domain::{SystemClock, error_chain},
    http::{
        self, BodyLimit, Collectors, Edge, EdgeMeters, EventStreams, Guard, Listener, Listening,
        ReadModels, RequestLimits, Tls, TraceLimit,
    },
    iam::{self, PasswordHasher, PasswordSettings, PasswordSignIn, UserDirectory, UserSearch},
    projection::{Projections, Subscriptions},
    runtime::Runtime,
    settings::{AuthMode, IamSettings, Kept, Mode, Settings, StoreKind, Writers},
    store,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// What open connections get once all commands are answered: only idle ones are left.
const CONNECTIONS_TIMEOUT: Duration = Duration::from_secs(1);
/// Who looks at figures and documents is few.
const ADMIN_WORKERS: usize = 1;

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
    let store = store::open_patiently(&settings.store).await?;
    let hasher = PasswordHasher::new(password_settings(&settings.iam))?;
    let builder = Runtime::builder(Arc::clone(&store)).settings(settings.clone());
    let runtime = iam::register(builder, &hasher).start().await?;
    let (projections, models) = projections(settings, &store)?;
    let subscriptions = Subscriptions::new(Arc::clone(&store), settings.streams.clone());
    let streams = EventStreams::new(Arc::clone(&store), subscriptions, settings.streams.clone());
    let guard = guard(settings, &store, &runtime, hasher).await?;
    let drift = watch_drift(settings, &store)?;
    let servers = bind(settings, &runtime, models, &streams, guard, &drift)?;
    let mut handles = vec![servers.public.handle()];
    let running = actix_web::rt::spawn(servers.public);
    if let Some(admin) = servers.admin {
        handles.push(admin.handle());
        actix_web::rt::spawn(admin);
    }
    let exclusive = settings.store.writers() == Writers::Exclusive;
    info!(store = %settings.store.url, exclusive, "ready");

    asked_to_end.await;
    // Their clients come back to another server; nobody waits for them.
    streams.close();
    drop(drift);
    end(&runtime, &projections, &handles, &*store).await;
    running.await??;
    Ok(())
}

/// Where nobody is asked who he is, nobody else may reach the port, unless that is meant.
fn check_openness(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    if settings.auth.mode == AuthMode::Token {
        return Ok(());
    }
    let binds = [Some(settings.http.bind), settings.http.admin_bind];
    let reached = binds
        .into_iter()
        .flatten()
        .find(|bind| !bind.ip().is_loopback());
    if let Some(bind) = reached {
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

/// Holds rows against their events, of the types that have both.
fn watch_drift(
    settings: &Settings,
    store: &Arc<dyn store::EventStore>,
) -> Result<DriftWatch, adoption::StartError> {
    let builder = Adoption::builder(Arc::clone(store)).settings(settings.clone());
    let adoption = iam::adoption(builder).build()?;
    let both = |name: &&str| settings.aggregate(name).mode == Mode::DualWrite;
    let types: Vec<String> = if settings.drift.watch {
        adoption.types().filter(both).map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    Ok(DriftWatch::start(adoption, &settings.drift, &types))
}

/// What listens: the server, and the second one for operators where the settings ask for it.
struct Servers {
    public: Server,
    admin: Option<Server>,
}

/// Everything that is served, in each worker the same.
#[derive(Clone)]
struct Served {
    runtime: Data<Runtime>,
    models: Data<ReadModels>,
    streams: Data<EventStreams>,
    collectors: Data<Collectors>,
    drift: Data<adoption::Seen>,
    edge: Data<Edge>,
    body_limit: Data<BodyLimit>,
    limits: Data<RequestLimits>,
    trace_limit: Data<TraceLimit>,
    /// Who is let in; without it everybody is.
    guard: Option<Data<Guard>>,
    routes: fn(&mut web::ServiceConfig),
}

impl Served {
    /// Called in each worker.
    fn configure(&self, config: &mut web::ServiceConfig) {
        if let Some(guard) = &self.guard {
            config.app_data(guard.clone());
        }
        config
            .app_data(self.runtime.clone())
            .app_data(self.models.clone())
            .app_data(self.streams.clone())
            .app_data(self.collectors.clone())
            .app_data(self.drift.clone())
            .app_data(self.body_limit.clone())
            .app_data(self.limits.clone())
            .app_data(self.trace_limit.clone())
            .configure(self.routes)
            .default_service(web::to(http::not_found));
    }
}

fn bind(
    settings: &Settings,
    runtime: &Runtime,
    models: ReadModels,
    streams: &EventStreams,
    guard: Option<Guard>,
    drift: &DriftWatch,
) -> Result<Servers, Box<dyn std::error::Error>> {
    let meters = Arc::new(EdgeMeters::default());
    let tls = Tls::load(&settings.tls)?;
    if let Some(tls) = &tls {
        actix_web::rt::spawn(tls.clone().keep_fresh(Arc::clone(&meters)));
    }
    let served = Served {
        runtime: Data::new(runtime.clone()),
        models: Data::new(models),
        streams: Data::new(streams.clone()),
        collectors: Data::new(Collectors(vec![Arc::clone(&meters) as _, drift.seen()])),
        drift: Data::from(drift.seen()),
        edge: Data::new(Edge::new(
            &settings.http,
            &settings.rate,
            Arc::clone(&meters),
        )),
        body_limit: Data::new(BodyLimit(settings.http.body_limit)),
        limits: Data::new(RequestLimits::of(&settings.http)),
        trace_limit: Data::new(TraceLimit(settings.http.trace_limit)),
        guard: guard.map(Data::new),
        routes: http::configure,
    };
    let listener =
        Listener::new(settings.http.clone(), tls, meters).shutdown_timeout(CONNECTIONS_TIMEOUT);
    let Some(admin) = settings.http.admin_bind else {
        let public = listen(
            &listener,
            settings.http.bind,
            settings.http.workers(),
            served,
        )?;
        info!("listening on {public:?}");
        return Ok(Servers {
            public: public.server,
            admin: None,
        });
    };
    let for_operators = Served {
        routes: http::configure_admin,
        ..served.clone()
    };
    let for_clients = Served {
        routes: http::configure_public,
        ..served
    };
    let public = listen(
        &listener,
        settings.http.bind,
        settings.http.workers(),
        for_clients,
    )?;
    info!("listening on {public:?}");
    let admin = listen(&listener, admin, ADMIN_WORKERS, for_operators)?;
    info!("for operators: {admin:?}");
    Ok(Servers {
        public: public.server,
        admin: Some(admin.server),
    })
}

fn listen(
    listener: &Listener,
    address: SocketAddr,
    workers: usize,
    served: Served,
) -> Result<Listening, String> {
    let factory = move || {
        App::new()
            .app_data(served.edge.clone())
            .wrap(from_fn(http::close_when_ending))
            .wrap(from_fn(http::keep_bounds))
            .configure(|config| served.configure(config))
    };
    listener
        .listen(address, workers, factory)
        .map_err(|error| format!("cannot listen on {address}: {error}"))
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
    handles: &[ServerHandle],
    store: &dyn store::EventStore,
) {
    let ended = runtime.shutdown().await;
    for handle in handles {
        handle.stop(true).await;
    }
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

//! The routes over a store, to be asked without a network.
#![allow(
    dead_code,
    reason = "each target has it as a module of its own and needs a part"
)]

use std::{future::Future, mem::ManuallyDrop, sync::Arc};

use actix_http::Request;
use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{Service, ServiceResponse},
    rt::SystemRunner,
    test::{TestRequest, init_service},
    web::Data,
};
use dormouse::{
    http::{self, Guard},
    iam::{self, PasswordHasher, PasswordSettings},
    runtime::Runtime,
    store::{EventStore, memory::MemoryStore},
};

/// What a thread keeps for good: when it ends, what an app needs for its own end has gone.
pub type Kept<T> = ManuallyDrop<T>;

/// An app, and the thread's system that it runs in.
pub struct Asked {
    system: SystemRunner,
    ask: Box<dyn Fn(&SystemRunner, TestRequest) -> (u16, String)>,
}

impl Asked {
    /// Over a store in memory, and open to everybody.
    pub fn new() -> Self {
        Self::over(
            actix_web::rt::System::new(),
            Arc::new(MemoryStore::new()),
            None,
        )
    }

    /// Over a store, for those whom the guard lets in.
    pub fn over(system: SystemRunner, store: Arc<dyn EventStore>, guard: Option<Guard>) -> Self {
        let service = system.block_on(async {
            let cheap = PasswordSettings {
                memory_kib: 8,
                iterations: 1,
                ..PasswordSettings::default()
            };
            let hasher = PasswordHasher::new(cheap).expect("they are in range");
            let runtime = iam::register(Runtime::builder(store), &hasher)
                .start()
                .await
                .expect("it starts");
            let mut app = App::new().app_data(Data::new(runtime));
            if let Some(guard) = guard {
                app = app.app_data(Data::new(guard));
            }
            init_service(app.configure(http::configure)).await
        });
        Self {
            system,
            ask: Box::new(move |system, request| system.block_on(answer(&service, request))),
        }
    }

    /// Runs something in the app's thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.system.block_on(future)
    }

    /// The status and the body of the answer.
    pub fn ask(&self, request: TestRequest) -> (u16, String) {
        (self.ask)(&self.system, request)
    }
}

async fn answer<S, B>(service: &S, request: TestRequest) -> (u16, String)
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let Ok(answer) = service.call(request.to_request()).await else {
        return (400, String::new());
    };
    let status = answer.status().as_u16();
    let body = actix_web::body::to_bytes(answer.into_body()).await;
    let body = body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (status, body.unwrap_or_default())
}

//! The routes over a store in memory, to be asked without a network.

use std::sync::Arc;

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
    http,
    iam::{self, PasswordHasher, PasswordSettings},
    runtime::Runtime,
    store::memory::MemoryStore,
};

/// An app, and the thread's system that it runs in.
pub struct Asked {
    system: SystemRunner,
    ask: Box<dyn Fn(&SystemRunner, TestRequest) -> (u16, String)>,
}

impl Asked {
    pub fn new() -> Self {
        let system = actix_web::rt::System::new();
        let service = system.block_on(async {
            let cheap = PasswordSettings {
                memory_kib: 8,
                iterations: 1,
                ..PasswordSettings::default()
            };
            let hasher = PasswordHasher::new(cheap).expect("they are in range");
            let builder = Runtime::builder(Arc::new(MemoryStore::new()));
            let runtime = iam::register(builder, &hasher)
                .start()
                .await
                .expect("it starts");
            init_service(
                App::new()
                    .app_data(Data::new(runtime))
                    .configure(http::configure),
            )
            .await
        });
        Self {
            system,
            ask: Box::new(move |system, request| system.block_on(answer(&service, request))),
        }
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

//! Three servers behind the real nginx and the real `HAProxy`, in the configurations that are shipped.

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;

use super::{load::Load, scale};
use crate::support::{
    Backend,
    balancer::{Balancer, Balancing},
    exposition::Figures,
    server::Server,
};

/// How long a balancer may take to find out that a node is back.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a server counted: its commands, and commits that lost to another writer's.
#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    commands: f64,
    conflicts: f64,
}

async fn figures(server: &Server) -> Figures {
    let page = reqwest::get(format!("{}/metrics", server.url())).await;
    Figures::read(&page.unwrap().text().await.unwrap())
}

async fn counted(server: &Server) -> Counted {
    let figures = figures(server).await;
    Counted {
        commands: figures.sum("dormouse_commands_total", "outcome=\"committed\""),
        conflicts: figures.sum("dormouse_conflicts_total", "with=\"version\""),
    }
}

/// Three servers on one database, and a balancer before them.
struct Behind {
    servers: [Server; 3],
    balancer: Balancing,
    url: String,
}

fn settings<'a>(url: &'a str, connections: &'a str) -> [(&'static str, &'a str); 2] {
    [
        ("DORMOUSE__STORE__URL", url),
        ("DORMOUSE__STORE__POOL", connections),
    ]
}

impl Behind {
    async fn start(balancer: Balancer, connections: &str) -> Self {
        let url = Backend::postgres().await.store_url();
        let settings = settings(&url, connections);
        let start = || Server::start(&settings);
        let servers = [start().await, start().await, start().await];
        let addresses = [0, 1, 2].map(|number: usize| servers[number].address());
        Self {
            balancer: balancer.before(addresses).await,
            servers,
            url,
        }
    }
}

#[tokio::test]
async fn a_node_that_is_killed_and_comes_back_loses_nothing_that_was_acknowledged() {
    for balancer in Balancer::BOTH {
        kill_one_and_start_it_again(balancer).await;
    }
}

async fn kill_one_and_start_it_again(balancer: Balancer) {
    let name = balancer;
    let Behind {
        mut servers,
        balancer,
        url,
    } = Behind::start(balancer, "3").await;
    let mut load = Load::start(vec![balancer.url()]);

    load.progress(200 * scale()).await;
    let before = totals(&servers).await;
    let killed = servers[1].address();
    servers[1].kill9();
    load.progress(200 * scale()).await;
    servers[1] = Server::start_at(killed, &settings(&url, "3")).await;
    // nginx tries it again after `fail_timeout`, HAProxy after its next check.
    let begun = Instant::now();
    while counted(&servers[1]).await.commands < 50.0 {
        assert!(
            begun.elapsed() < PATIENCE,
            "nothing is sent to the node that came back"
        );
        load.progress(50).await;
    }
    let end = totals(&servers).await;

    let last = load.stop().await;
    for server in &mut servers {
        assert_eq!(server.terminate().code(), Some(0));
    }
    last.check(&url).await;
    println!(
        "{name:?}: {} commands before the kill, {:.2} % of them met a conflict; {:.2} % of the {} that the \
         nodes which are left had counted at the end",
        before.commands,
        share(before),
        share(end),
        end.commands,
    );
    assert!(before.commands >= 200.0, "{before:?}");
    // Each aggregate is at home at one node, so that two hardly ever race.
    assert!(share(before) < 5.0, "{before:?}");
}

async fn totals(servers: &[Server; 3]) -> Counted {
    let mut total = Counted::default();
    for server in servers {
        let own = counted(server).await;
        total.commands += own.commands;
        total.conflicts += own.conflicts;
    }
    total
}

fn share(counted: Counted) -> f64 {
    100.0 * counted.conflicts / counted.commands.max(1.0)
}

#[tokio::test]
async fn an_aggregate_is_at_home_at_one_node_and_what_has_no_home_is_spread() {
    for balancer in Balancer::BOTH {
        ask_for_aggregates_and_for_new_ones(balancer).await;
    }
}

async fn ask_for_aggregates_and_for_new_ones(balancer: Balancer) {
    let Behind {
        servers, balancer, ..
    } = Behind::start(balancer, "2").await;
    let client = Client::builder().no_proxy().build().unwrap();
    let send = async |path: &str, body: serde_json::Value| {
        let sent = client
            .post(format!("{}{path}", balancer.url()))
            .json(&body)
            .send()
            .await;
        assert!(sent.unwrap().status().is_success(), "{path}");
    };

    for role in 0..30 {
        let path = format!("/v1/aggregates/Role/r{role}");
        let created = json!({"code": format!("c{role}"), "name": "a role"});
        send(&format!("{path}/commands/create"), created).await;
        for name in ["b", "c", "d"] {
            send(&format!("{path}/commands/update"), json!({"name": name})).await;
            let read = client.get(format!("{}{path}", balancer.url())).send().await;
            assert_eq!(read.unwrap().status(), 200);
        }
    }
    let mut woken = Vec::new();
    for server in &servers {
        woken.push(activations(server).await);
    }
    // Each was woken once, so at one node only; and every node has some.
    let all: f64 = woken.iter().sum();
    assert!((all - 30.0).abs() < 0.5, "{woken:?}");
    assert!(woken.iter().all(|own| *own >= 3.0), "{woken:?}");

    for role in 0..30 {
        let created = json!({"code": format!("new{role}"), "name": "a role"});
        send("/v1/aggregates/Role/commands/create", created).await;
    }
    for (server, before) in servers.iter().zip(woken) {
        assert!(
            activations(server).await > before,
            "new ones are not spread"
        );
    }
    for path in [
        "/metrics",
        "/docs",
        "/openapi.json",
        "/v1/runtime",
        "/docs/index.css",
    ] {
        let hidden = client
            .get(format!("{}{path}", balancer.url()))
            .send()
            .await
            .unwrap();
        assert_eq!(hidden.status(), 404, "{path}");
        assert!(
            hidden.headers().get("x-content-type-options").is_none(),
            "{path}"
        );
    }
}

async fn activations(server: &Server) -> f64 {
    let figures = figures(server).await;
    figures.get("dormouse_activations_total{aggregate_type=\"Role\"}")
}

#[tokio::test]
async fn a_stream_comes_through_as_it_happens() {
    for balancer in Balancer::BOTH {
        follow(balancer).await;
    }
}

async fn follow(balancer: Balancer) {
    let Behind {
        servers: _servers,
        balancer,
        ..
    } = Behind::start(balancer, "2").await;
    let client = Client::builder().no_proxy().build().unwrap();
    let stream = client
        .get(format!("{}/v1/events/stream", balancer.url()))
        .send();
    let mut stream = stream.await.unwrap();
    assert_eq!(stream.status(), 200);

    let created = json!({"code": "c", "name": "a role"});
    let path = format!("{}/v1/aggregates/Role/r1/commands/create", balancer.url());
    client.post(path).json(&created).send().await.unwrap();

    let first = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await;
    let first = first.expect("nothing is kept back").unwrap().unwrap();
    let text = String::from_utf8_lossy(&first);
    assert!(text.contains("event: RoleCreatedEvent"), "{text}");
}

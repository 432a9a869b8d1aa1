//! A look back once servers have been started again: states and receipts are as they were.
//!
//! What is heard goes into the history, so that the judge compares it with all that was heard
//! before.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    time::Duration,
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    check::{field_of, shown, token_of, type_of},
    history::{self, Hear, Heard, Line, Read, Send, Token},
    world::World,
};

/// Keyed commands that are sent again.
const RECEIPTS: usize = 300;
/// Aggregates that are read, by every node.
const READS: usize = 300;
/// Tries to have an aggregate met.
const MEETINGS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Reads states and sends commands again that are done, by every node.
pub(crate) async fn look_again(world: &World, path: &Path) {
    let (updates, ids) = what_to_ask(path);
    let client = Client::builder().no_proxy().build().expect("a client");
    for (number, node) in world.nodes.iter().enumerate() {
        let address = node.address().expect("it was started");
        let base = format!("http://{address}/v1/aggregates");
        let step = (updates.len() / RECEIPTS).max(1);
        for (token, id) in updates.iter().step_by(step) {
            let url = format!("{base}/{}/{id}/commands/update", type_of(id));
            send_again(world, &client, &url, number, (*token, id)).await;
        }
        let step = (ids.len() / READS).max(1);
        for id in ids.iter().step_by(step) {
            let url = format!("{base}/{}/{id}", type_of(id));
            let read = read(world, &client, &url, (number, id)).await;
            read.expect("a server that is left alone answers");
        }
    }
}

/// The keyed updates that are done, and all aggregates.
fn what_to_ask(path: &Path) -> (Vec<(Token, String)>, BTreeSet<String>) {
    let mut updates_sent: HashMap<Token, String> = HashMap::new();
    let (mut updates, mut ids) = (Vec::new(), BTreeSet::new());
    for line in history::read(path).expect("the history is read") {
        match line {
            Line::Send(send) => {
                ids.insert(send.id.clone());
                if send.keyed && send.command == "update" {
                    updates_sent.insert(send.token, send.id);
                }
            }
            Line::Hear(hear) if matches!(hear.what, Heard::Done { .. }) => {
                let id = updates_sent.remove(&hear.token);
                updates.extend(id.map(|id| (hear.token, id)));
            }
            _ => {}
        }
    }
    (updates, ids)
}

async fn send_again(
    world: &World,
    client: &Client,
    url: &str,
    node: usize,
    (token, id): (Token, &str),
) {
    world.history.write(&Line::Send(Send {
        at: world.history.now(),
        token,
        id: id.to_owned(),
        command: "update".to_owned(),
        keyed: true,
        expects: None,
        node,
    }));
    let request = client
        .post(url)
        .header("Idempotency-Key", shown(token))
        .json(&json!({field_of(id): shown(token)}));
    let answer = request
        .send()
        .await
        .expect("a server that is left alone answers");
    let replayed = answer.headers().contains_key("idempotency-replayed");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    let number = |name: &str| body[name].as_u64().unwrap_or_default();
    let what = if status == 200 && replayed {
        Heard::Done {
            version: number("version"),
            position: number("position"),
            event: body["events"][0]["id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            replayed,
        }
    } else {
        // The judge tells of any refusal of what is done already.
        Heard::Refused("command-rejected".to_owned())
    };
    world.history.write(&Line::Hear(Hear {
        at: world.history.now(),
        token,
        what,
    }));
}

/// Has an aggregate met by a server, which tells of what another program wrote, and reads it.
pub(crate) async fn meet(world: &World, client: &Client, choice: u32, id: &str) {
    for _ in 0..MEETINGS {
        if let Some((node, address)) = world.any_address(choice) {
            let url = format!("http://{address}/v1/aggregates/{}/{id}", type_of(id));
            if read(world, client, &url, (node, id)).await.is_some() {
                return;
            }
        }
        sleep(PAUSE).await;
    }
}

/// Reads a state, and writes down what it shows; nothing where the server cannot tell.
async fn read(world: &World, client: &Client, url: &str, (node, id): (usize, &str)) -> Option<()> {
    let sent = world.history.now();
    let answer = client.get(url).send().await.ok()?;
    let found = match answer.status().as_u16() {
        200 => true,
        404 => false,
        _ => return None,
    };
    let body: Value = answer.json().await.ok()?;
    let shows = body["state"][field_of(id)].as_str();
    world.history.write(&Line::Read(Read {
        sent,
        at: world.history.now(),
        id: id.to_owned(),
        version: if found {
            body["version"].as_u64().expect("a version")
        } else {
            0
        },
        shows: shows.and_then(token_of),
        node,
    }));
    Some(())
}

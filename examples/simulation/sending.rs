//! What callers send, and what they write down of what they hear.

use std::time::Duration;

use dormouse::{
    domain::{IdempotencyKey, Version},
    runtime::{Answer, CommandError, CommandOptions, Expected, StateAt, StateError},
    testing::checker::{Call, Command, Refusal, Seen, Told},
};
use tokio::time::{Instant, sleep};

use crate::{
    plan::{Order, Step, What},
    tally::{Mark, Rename, Shown, Tally},
    world::{Finding, SLACK, World, id, stream},
};

/// A command under a key, with what its client knew when it was made.
#[derive(Clone)]
pub(crate) struct Keyed {
    pub(crate) step: Step,
    pub(crate) order: Order,
    pub(crate) known: Version,
}

/// What a caller heard.
pub(crate) enum Heard {
    Done(Version),
    /// The aggregate said no.
    Decided,
    /// Not served, or nobody knows.
    Nothing,
}

/// The pause before a retry, and before the next try to find out what became of a command.
pub(crate) const PAUSE: Duration = Duration::from_millis(40);
/// A limit that nothing reaches where there are no troubles.
const PATIENCE: Duration = Duration::from_mins(2);
/// So often a command is sent where there are no troubles; journals may still be waiting.
const LAST_TRIES: usize = 20;

/// Sends a command once, and writes down what is heard.
pub(crate) async fn send(world: &World, node: usize, keyed: &Keyed) -> Heard {
    let Keyed { step, order, known } = keyed;
    let node = node % world.plan.nodes;
    let token = step.token.clone();
    let key = order
        .tries
        .map(|_| IdempotencyKey::parse(&token).expect("a key"));
    let command = Command {
        token: token.as_str().into(),
        key: key.clone(),
        events: Some(match order.what {
            What::Mark { events, .. } => events,
            What::Rename(_) => 1,
        }),
    };
    let options = CommandOptions {
        key,
        expected: order.expected.expected(*known),
        timeout: order.timeout,
        ..CommandOptions::default()
    };
    let call = world.history.borrow_mut().sent(stream(step.tally), command);
    world.note(&format!(
        "{call:?} {token} to {} on node {node}: {order:?}",
        step.tally
    ));
    let Some(node) = world.node(node) else {
        return heard(world, call, &token, Some(Err(CommandError::ShuttingDown)));
    };
    let began = Instant::now();
    let tally = id(step.tally);
    let answer = match &order.what {
        What::Mark { events, limit } => {
            let mark = Mark {
                token: token.clone(),
                events: *events,
                limit: *limit,
            };
            node.execute(tally, mark, options).await
        }
        What::Rename(name) => {
            let rename = Rename {
                token: token.clone(),
                name: name.map(str::to_owned),
            };
            node.execute(tally, rename, options).await
        }
    };
    if began.elapsed() > order.timeout + SLACK {
        let text = format!("{token} was answered after {:?}", began.elapsed());
        world.find(Finding::new("Hung", text));
    }
    if let Some(answer) = &answer {
        for finding in unwanted(keyed, answer) {
            world.find(finding);
        }
    }
    heard(world, call, &token, answer)
}

/// What an answer does that its command did not allow: at another version than was asked for, over
/// the limit, or refused below it.
fn unwanted(keyed: &Keyed, answer: &Result<Answer<Shown>, CommandError>) -> Vec<Finding> {
    let Keyed { step, order, known } = keyed;
    let mut found = Vec::new();
    let (events, limit) = match order.what {
        What::Mark { events, limit } => (u64::from(events), limit),
        What::Rename(_) => (1, None),
    };
    let mut find = |name: &str, shown: String| {
        found.push(Finding::new(
            name,
            format!("{} was answered {shown}", step.token),
        ));
    };
    match answer {
        Ok(answer) => {
            let wanted = match order.expected.expected(*known) {
                Expected::Any => None,
                Expected::Absent => Some(Version::ZERO),
                Expected::At(version) => Some(version),
            };
            let before = answer.version.get() - answer.events.len() as u64;
            if wanted.is_some_and(|wanted| wanted.get() != before) {
                find("NotAsExpected", format!("at version {}", answer.version));
            }
            if limit.is_some_and(|limit| answer.reply.state.events > limit) {
                find("WrongDecision", format!("{:?}", answer.reply));
            }
        }
        Err(CommandError::Rejected { message, .. }) => {
            let shown: Shown = serde_json::from_str(message).expect("a state");
            if limit.is_none_or(|limit| shown.state.events + events <= limit) {
                find("WrongDecision", message.clone());
            }
        }
        Err(_) => {}
    }
    found
}

fn heard(
    world: &World,
    call: Call,
    token: &str,
    answer: Option<Result<Answer<Shown>, CommandError>>,
) -> Heard {
    let told = match &answer {
        None => "the connection broke".to_owned(),
        Some(Ok(answer)) => format!(
            "version {} position {} of {} events, replayed: {}",
            answer.version,
            answer.position,
            answer.events.len(),
            answer.replayed
        ),
        Some(Err(error)) => format!("{error:?}"),
    };
    world.note(&format!("{call:?} {token} hears: {told}"));
    let mut history = world.history.borrow_mut();
    match answer {
        Some(Ok(answer)) => {
            let version = answer.version;
            history.answered(call, told_of(answer));
            return Heard::Done(version);
        }
        Some(Err(CommandError::Rejected { message, .. })) => {
            let shown: Shown = serde_json::from_str(&message).expect("a state");
            history.refused(
                call,
                Refusal::Decided(Some(seen(shown.version, shown.state))),
            );
            return Heard::Decided;
        }
        Some(Err(CommandError::VersionMismatch { current })) => {
            let seen = Seen {
                version: current,
                state: None,
            };
            history.refused(call, Refusal::Decided(Some(seen)));
            return Heard::Decided;
        }
        Some(Err(CommandError::ClaimTaken(_))) => {
            history.refused(call, Refusal::Decided(None));
            return Heard::Decided;
        }
        None | Some(Err(CommandError::OutcomeUnknown)) => history.unknown(call),
        Some(Err(
            CommandError::WriteConflict
            | CommandError::Overloaded { .. }
            | CommandError::ShuttingDown
            | CommandError::StoreUnavailable
            | CommandError::TimedOutUnhandled,
        )) => history.refused(call, Refusal::NotServed),
        Some(Err(error)) => {
            history.refused(call, Refusal::NotServed);
            let text = format!("{token} heard {error:?}");
            world.find(Finding::new("Unexpected", text));
        }
    }
    Heard::Nothing
}

fn told_of(answer: Answer<Shown>) -> Told<Tally> {
    let events = u32::try_from(answer.events.len()).expect("few events");
    Told {
        seen: seen(answer.version, answer.reply.state),
        position: Some(answer.position),
        events,
        ids: answer.events.iter().map(|event| event.id).collect(),
        replayed: answer.replayed,
    }
}

fn seen(version: Version, state: Tally) -> Seen<Tally> {
    Seen {
        version,
        state: Some(state),
    }
}

/// Reads on a node, and gives the version shown.
pub(crate) async fn read(world: &World, node: usize, tally: &str) -> Option<Version> {
    let call = world.history.borrow_mut().read_sent(stream(tally));
    world.note(&format!("{call:?} reads {tally} on node {node}"));
    let state: Option<Result<Option<StateAt<Tally>>, StateError>> = match world.node(node) {
        Some(node) => node.state(id(tally)).await,
        None => None,
    };
    let mut history = world.history.borrow_mut();
    let Some(Ok(state)) = state else {
        world.note(&format!("{call:?} hears nothing: {state:?}"));
        history.read_failed(call);
        return None;
    };
    let version = state.as_ref().map_or(Version::ZERO, |state| state.version);
    world.note(&format!("{call:?} is shown version {version}"));
    let state = state.map(|state| state.state).unwrap_or_default();
    history.read_answered(call, seen(version, state));
    Some(version)
}

/// Sends a command under its key until it is known what became of it.
pub(crate) async fn find_out(world: &World, mut keyed: Keyed) {
    keyed.order.timeout = PATIENCE;
    for number in 0..LAST_TRIES {
        match send(world, number, &keyed).await {
            Heard::Done(_) | Heard::Decided => return,
            Heard::Nothing => sleep(PAUSE).await,
        }
    }
    let text = format!("{} is not answered though all is well", keyed.step.token);
    world.find(Finding::new("NotRecovered", text));
}

/// Reads until there is an answer.
pub(crate) async fn read_at_last(world: &World, node: usize, tally: &str) {
    for _ in 0..LAST_TRIES {
        if read(world, node, tally).await.is_some() {
            return;
        }
        sleep(PAUSE).await;
    }
    let text = format!("{tally} cannot be read on node {node} though all is well");
    world.find(Finding::new("NotRecovered", text));
}

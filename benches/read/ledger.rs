//! The aggregate whose past states are read: it counts, and remembers its last notes.

use std::{borrow::Cow, collections::VecDeque, error::Error, sync::Arc};

use dormouse::{
    domain::{
        Aggregate, AggregateId, CommandContext, Decision, Event, EventType, Handle, Rejection,
    },
    runtime::{CommandError, CommandOptions, Runtime, RuntimeBuilder},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

/// Notes that the state keeps.
const NOTES: usize = 20;
/// Callers that enter at a time.
const CALLERS: usize = 64;

/// A ledger.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) entries: u64,
    notes: VecDeque<String>,
}

/// Enters a note.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Enter {
    note: String,
}

/// What happened to a ledger.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LedgerEvent {
    #[serde(rename = "LedgerEnteredEvent")]
    Entered { note: String },
}

impl Event for LedgerEvent {
    const TYPES: &'static [EventType] = &[EventType::new("LedgerEnteredEvent", 1)];
}

/// Nothing is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {}

impl Rejection for Refused {
    fn reason(&self) -> Cow<'static, str> {
        match *self {}
    }
}

impl Aggregate for Ledger {
    const TYPE: &'static str = "Ledger";
    type Event = LedgerEvent;
    type Error = Refused;

    fn apply(&mut self, event: &LedgerEvent) {
        let LedgerEvent::Entered { note } = event;
        self.entries += 1;
        self.notes.push_back(note.clone());
        if self.notes.len() > NOTES {
            self.notes.pop_front();
        }
    }
}

impl Handle<Enter> for Ledger {
    type Reply = ();

    fn handle(&self, command: &Enter, _: &CommandContext<'_>) -> Result<Decision<Self>, Refused> {
        let note = command.note.clone();
        Ok(Decision::persist([LedgerEvent::Entered { note }]))
    }
}

/// Tells a runtime what a ledger is.
pub(crate) fn register(builder: RuntimeBuilder) -> RuntimeBuilder {
    builder.aggregate::<Ledger>(|ledger| ledger.command::<Enter>("enter"))
}

/// Enters so many notes into a ledger.
///
/// # Errors
/// The first command's that fails.
pub(crate) async fn fill(
    runtime: &Runtime,
    id: &AggregateId,
    entries: u64,
) -> Result<(), Box<dyn Error>> {
    let ledgers = runtime.aggregates::<Ledger>();
    let ledgers = Arc::new(ledgers.ok_or("the runtime does not know ledgers")?);
    let entered = stream::iter(0..entries).map(|number| {
        let ledgers = Arc::clone(&ledgers);
        async move {
            let note = format!("entry {number}: a sentence that says what happened");
            let options = CommandOptions::default();
            ledgers.execute(id, Enter { note }, options).await?;
            Ok::<(), CommandError>(())
        }
    });
    entered
        .buffer_unordered(CALLERS)
        .try_collect::<()>()
        .await?;
    Ok(())
}

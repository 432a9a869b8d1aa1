//! Given events, when a command, then events: an aggregate's test without a runtime.
//!
//! Every given and every decided event goes through [`EventCodec`] and every state through a
//! snapshot, so that a test of behaviour is one of storage too. Events are compared as the
//! JSON that is stored, so they need no `PartialEq`.

use std::fmt::{Debug, Write as _};

use chrono::{DateTime, Utc};
use serde_json::Value;
use ulid::Ulid;

use crate::domain::{
    Aggregate, AggregateId, Claim, Clock as _, CommandContext, CorrelationId, Decision, Event as _,
    EventCodec, Handle, Rejection as _, SnapshotShape as _, Upcaster, Version, error_chain,
};

use super::ManualClock;

/// Starts from the state these events lead to; from none where there are none.
///
/// ```
/// # use std::borrow::Cow;
/// # use dormouse::domain::{Aggregate, CommandContext, Decision, Event, EventType, Handle, Rejection};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # struct Lamp { lit: bool }
/// # #[derive(Debug, Serialize, Deserialize)]
/// # enum LampEvent { LitEvent {} }
/// # impl Event for LampEvent { const TYPES: &'static [EventType] = &[EventType::new("LitEvent", 1)]; }
/// # #[derive(Debug, thiserror::Error)]
/// # #[error("this lamp is lit already")]
/// # struct LitAlready;
/// # impl Rejection for LitAlready { fn reason(&self) -> Cow<'static, str> { "lit-already".into() } }
/// # impl Aggregate for Lamp {
/// #     const TYPE: &'static str = "Lamp";
/// #     type Event = LampEvent;
/// #     type Error = LitAlready;
/// #     fn apply(&mut self, _: &LampEvent) { self.lit = true; }
/// # }
/// # struct Light;
/// # impl Handle<Light> for Lamp {
/// #     type Reply = ();
/// #     fn handle(&self, _: &Light, _: &CommandContext<'_>) -> Result<Decision<Self>, LitAlready> {
/// #         if self.lit { Err(LitAlready) } else { Ok(Decision::persist([LampEvent::LitEvent {}])) }
/// #     }
/// # }
/// use dormouse::testing::given;
///
/// given::<Lamp>([]).when(Light).then([LampEvent::LitEvent {}]);
/// given::<Lamp>([LampEvent::LitEvent {}]).when(Light).then_rejected("lit-already");
/// ```
#[must_use]
#[track_caller]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    let mut version = Version::ZERO;
    for event in events {
        apply_stored(&mut state, &event);
        version = version.next();
    }
    check_state(&state);
    Given {
        state,
        version,
        aggregate_id: AggregateId::parse("given").unwrap_or_else(|error| panic!("{error}")),
        now: ManualClock::default().now(),
    }
}

/// A state that is about to take a command.
#[derive(Debug)]
pub struct Given<A> {
    state: A,
    version: Version,
    aggregate_id: AggregateId,
    now: DateTime<Utc>,
}

impl<A: Aggregate> Given<A> {
    /// The command comes at this time; without it, at the start of 2026.
    #[must_use]
    pub const fn at(mut self, now: DateTime<Utc>) -> Self {
        self.now = now;
        self
    }

    /// The aggregate is at this version; without it, at the number of given events.
    #[must_use]
    pub const fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// The aggregate has this id; without it, `given`.
    #[must_use]
    pub fn id(mut self, aggregate_id: AggregateId) -> Self {
        self.aggregate_id = aggregate_id;
        self
    }

    /// Sends the command.
    ///
    /// It is decided twice, as after a lost commit, and must decide the same.
    #[must_use]
    #[track_caller]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a test reads better without an ampersand before its command"
    )]
    pub fn when<C>(self, command: C) -> Outcome<A, <A as Handle<C>>::Reply>
    where
        A: Handle<C>,
    {
        let ctx = CommandContext {
            aggregate_id: &self.aggregate_id,
            version: self.version,
            now: self.now,
            created_by: None,
            correlation_id: CorrelationId(Ulid::nil()),
        };
        let decide = || {
            let decision = self.state.handle(&command, &ctx);
            decision.map(Decision::into_parts)
        };
        let again = decide().map(|(events, _)| stored_lines::<A>(&events));
        let mut state = self.state.clone();
        let (decided, events) = match decide() {
            Ok((events, reply)) => {
                let lines = stored_lines::<A>(&events);
                assert!(
                    again.as_ref().ok() == Some(&lines),
                    "the command decides otherwise when it is decided again"
                );
                for event in &events {
                    apply_stored(&mut state, event);
                }
                (Ok(reply), lines)
            }
            Err(rejection) => (Err(rejection.reason().into_owned()), Vec::new()),
        };
        check_state(&state);
        Outcome {
            version: self.version.plus(events.len() as u64),
            state,
            decided,
            events,
        }
    }
}

/// What came of a command. Each `then…` checks one thing and hands it on.
#[derive(Debug)]
pub struct Outcome<A, R = ()> {
    state: A,
    version: Version,
    /// The reply, or the rejection's slug.
    decided: Result<R, String>,
    /// The decided events, a line each.
    events: Vec<String>,
}

#[allow(
    clippy::return_self_not_must_use,
    reason = "the last check of a chain has no use for it"
)]
impl<A: Aggregate, R> Outcome<A, R> {
    /// The command was accepted and stores exactly these events.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) -> Self {
        self.assert_accepted();
        let expected: Vec<A::Event> = events.into_iter().collect();
        let expected = stored_lines::<A>(&expected);
        assert!(
            self.events == expected,
            "other events than expected (- expected, + decided):\n{}",
            diff(&expected, &self.events)
        );
        self
    }

    /// The command was accepted and stores nothing.
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then([])
    }

    /// The command was refused for this reason.
    #[track_caller]
    pub fn then_rejected(self, reason: &str) -> Self {
        match &self.decided {
            Err(found) => assert_eq!(found, reason, "refused for another reason"),
            Ok(_) => panic!(
                "expected the rejection `{reason}`, but it was accepted with:\n{}",
                diff(&[], &self.events)
            ),
        }
        self
    }

    /// The command was accepted with this reply.
    #[track_caller]
    pub fn then_reply(self, expected: &R) -> Self
    where
        R: PartialEq + Debug,
    {
        self.assert_accepted();
        assert_eq!(self.decided.as_ref().ok(), Some(expected), "another reply");
        self
    }

    /// The state afterwards, for checks of its own.
    #[track_caller]
    pub fn then_state(self, check: impl FnOnce(&A)) -> Self {
        check(&self.state);
        self
    }

    /// The state afterwards holds exactly these claims, in whatever order.
    #[track_caller]
    pub fn then_claims(self, expected: impl IntoIterator<Item = Claim>) -> Self {
        let mut expected: Vec<Claim> = expected.into_iter().collect();
        let mut claims = self.state.claims();
        expected.sort();
        claims.sort();
        assert_eq!(claims, expected, "other claims than expected");
        self
    }

    /// The aggregate is at this version afterwards.
    #[track_caller]
    pub fn then_version(self, expected: Version) -> Self {
        assert_eq!(self.version, expected, "another version");
        self
    }

    /// The state afterwards.
    #[must_use]
    pub const fn state(&self) -> &A {
        &self.state
    }

    #[track_caller]
    fn assert_accepted(&self) {
        if let Err(reason) = &self.decided {
            panic!("the command was rejected: `{reason}`");
        }
    }
}

#[track_caller]
pub(super) fn codec<A: Aggregate>() -> EventCodec<A::Event> {
    // Upcasters have tests of their own: what is written here is of today's schema. So a
    // chain's gaps are closed by steps that are never taken.
    let steps = A::Event::TYPES.iter().flat_map(|event_type| {
        let name = event_type.name;
        (1..event_type.schema_version).map(move |version| Upcaster::new(name, version, |data| data))
    });
    EventCodec::new(steps).unwrap_or_else(|error| panic!("`Event::TYPES` is wrong: {error}"))
}

/// Applies an event as it reads after it was stored.
#[track_caller]
fn apply_stored<A: Aggregate>(state: &mut A, event: &A::Event) {
    let codec = codec::<A>();
    let (event_type, data) = codec
        .encode(event)
        .unwrap_or_else(|error| panic!("{}", error_chain(&error)));
    let stored = codec
        .decode(event_type.name, event_type.schema_version, &data)
        .unwrap_or_else(|error| {
            panic!(
                "`{}` cannot be read back: {}",
                event_type.name,
                error_chain(&error)
            )
        });
    state.apply(&stored);
}

/// An event as it is stored, on one line.
#[track_caller]
fn stored_lines<A: Aggregate>(events: &[A::Event]) -> Vec<String> {
    let codec = codec::<A>();
    let line = |event| {
        let (event_type, data) = codec
            .encode(event)
            .unwrap_or_else(|error| panic!("{}", error_chain(&error)));
        // Through a value, so that the order of members does not count.
        let data: Value = serde_json::from_str(data.get())
            .unwrap_or_else(|error| panic!("an event is no JSON: {error}"));
        format!("{} {data}", event_type.name)
    };
    events.iter().map(line).collect()
}

/// A state must survive its snapshot, and a store must be able to hold its claims.
#[track_caller]
fn check_state<A: Aggregate>(state: &A) {
    let snapshot = state
        .to_snapshot()
        .unwrap_or_else(|error| panic!("the state cannot be written: {error}"));
    let Some(back) = A::from_snapshot(&snapshot, &A::fingerprint()) else {
        panic!("the state cannot be read back from its snapshot: {snapshot}");
    };
    let again = back.to_snapshot().map(|again| again.get().to_owned());
    assert_eq!(
        again.ok().as_deref(),
        Some(snapshot.get()),
        "the state changes when it is read back from its snapshot"
    );
    for claim in state.claims() {
        if let Err(error) = claim.check() {
            panic!("no store can hold a claim of this state: {error}");
        }
    }
}

fn diff(expected: &[String], found: &[String]) -> String {
    let mut text = String::new();
    for index in 0..expected.len().max(found.len()) {
        let (expected, found) = (expected.get(index), found.get(index));
        if let (Some(line), true) = (expected, expected == found) {
            let _ = writeln!(text, "  {line}");
            continue;
        }
        for (mark, line) in [("-", expected), ("+", found)] {
            if let Some(line) = line {
                let _ = writeln!(text, "{mark} {line}");
            }
        }
    }
    if text.is_empty() {
        text.push_str("  no events");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, panic::catch_unwind};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::domain::{Event, EventType, Rejection};

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Sum {
        total: u64,
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum SumEvent {
        AddedEvent { number: u64 },
        UndeclaredEvent,
    }
    impl Event for SumEvent {
        const TYPES: &'static [EventType] = &[EventType::new("AddedEvent", 3)];
    }
    #[derive(Debug, thiserror::Error)]
    #[error("too much")]
    struct TooMuch;
    impl Rejection for TooMuch {
        fn reason(&self) -> Cow<'static, str> {
            "too-much".into()
        }
    }
    impl Aggregate for Sum {
        const TYPE: &'static str = "Sum";
        type Event = SumEvent;
        type Error = TooMuch;
        fn apply(&mut self, event: &SumEvent) {
            if let SumEvent::AddedEvent { number } = event {
                self.total += number;
            }
        }
        fn claims(&self) -> Vec<Claim> {
            vec![Claim::new(
                "total",
                "9".repeat(usize::try_from(self.total).unwrap()),
            )]
        }
    }
    struct Add(u64);
    impl Handle<Add> for Sum {
        type Reply = u64;
        fn handle(
            &self,
            add: &Add,
            ctx: &CommandContext<'_>,
        ) -> Result<Decision<Self, u64>, TooMuch> {
            match add.0 {
                0 => Ok(Decision::nothing().reply(0)),
                7 => Ok(Decision::persist([SumEvent::UndeclaredEvent]).reply(0)),
                8 => Err(TooMuch),
                number => {
                    Ok(Decision::persist([SumEvent::AddedEvent { number }])
                        .reply(ctx.version.get()))
                }
            }
        }
    }

    const fn added(number: u64) -> SumEvent {
        SumEvent::AddedEvent { number }
    }

    fn message(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = catch_unwind(check).expect_err("the check must fail");
        match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
        }
    }

    #[test]
    fn what_is_as_expected_passes() {
        given::<Sum>([added(1), added(2)])
            .when(Add(3))
            .then([added(3)])
            .then_reply(&2)
            .then_version(Version::new(3))
            .then_claims([Claim::new("total", "999999")])
            .then_state(|sum| assert_eq!(sum.total, 6));
        given::<Sum>([]).when(Add(0)).then_nothing();
        given::<Sum>([]).when(Add(8)).then_rejected("too-much");
    }

    #[test]
    fn another_event_is_shown_beside_the_expected_one() {
        let text = message(|| drop(given::<Sum>([]).when(Add(3)).then([added(4)])));

        assert!(
            text.contains("- AddedEvent {\"number\":4}\n+ AddedEvent {\"number\":3}"),
            "{text}"
        );
    }

    #[test]
    fn rejections_and_acceptances_are_not_taken_for_each_other() {
        let rejected = message(|| drop(given::<Sum>([]).when(Add(8)).then_nothing()));
        let accepted = message(|| drop(given::<Sum>([]).when(Add(1)).then_rejected("too-much")));

        assert!(rejected.contains("too-much"), "{rejected}");
        assert!(
            accepted.contains("accepted with:\n+ AddedEvent"),
            "{accepted}"
        );
    }

    #[test]
    fn undeclared_events_and_claims_no_store_can_hold_fail() {
        let undeclared = message(|| drop(given::<Sum>([]).when(Add(7))));
        let unfit = message(|| drop(given::<Sum>([]).when(Add(2000))));

        assert!(undeclared.contains("UndeclaredEvent"), "{undeclared}");
        assert!(unfit.contains("1024 bytes"), "{unfit}");
    }
}

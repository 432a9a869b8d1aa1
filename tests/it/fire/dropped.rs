//! Callers that go away: every future of the runtime and of subscriptions is dropped at each of its
//! awaits. Nothing is lost, nothing is done twice, and nothing is held for ever.

use std::{sync::Arc, task::Poll};

use dormouse::{
    domain::{Position, Version},
    projection::Subscriptions,
    runtime::At,
    settings::StreamSettings,
    store::{EventFilter, EventStore},
};

use super::node::{Node, Setup, memory, stream, until};
use crate::support::{
    Backend, backends,
    checker::{Heard, check, command, open, told},
    counter::id,
};

/// More awaits than any of these has.
const MOST_AWAITS: usize = 100;

/// Polls a future so often, each time when it asks for it, then drops it; its end, where it got there.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(end) => Poll::Ready(Some(end)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A store of each kind, with what must stay for as long as it is used.
async fn stores() -> Vec<(Arc<dyn EventStore>, Option<Backend>)> {
    let mut stores = vec![(memory(), None)];
    for backend in backends().await {
        stores.push((open(&backend.store_url()).await, Some(backend)));
    }
    stores
}

/// Drops a command at each of its awaits, and asks then under its key what became of it.
async fn drop_commands(node: &Node, history: &mut Heard, prefix: &str, one: Option<&str>) {
    for polls in 0..MOST_AWAITS {
        let token = format!("t-{prefix}-{polls}");
        let counter = one.map_or_else(|| token.clone(), str::to_owned);
        let call = history.sent(stream(&counter), command(&token, true));
        let dropped = dropped_after(polls, node.add(&counter, &token, Some(&token))).await;
        let ended = dropped.is_some();
        match dropped {
            Some(answer) => {
                let answer = answer.unwrap();
                let (version, position) = (answer.version.get(), answer.position.get());
                history.answered(call, told(version, position, answer.replayed));
            }
            None => history.unknown(call),
        }
        let call = history.sent(stream(&counter), command(&token, true));
        let answer = node.add(&counter, &token, Some(&token)).await.unwrap();
        let (version, position) = (answer.version.get(), answer.position.get());
        history.answered(call, told(version, position, answer.replayed));
        if ended {
            return;
        }
    }
    panic!("a command has no more than {MOST_AWAITS} awaits");
}

#[tokio::test]
async fn a_command_may_be_dropped_at_any_await() {
    for (store, _backend) in stores().await {
        let node = Setup::shared().start_on(&store).await;
        let mut history = Heard::new();

        drop_commands(&node, &mut history, "asleep", None).await;
        drop_commands(&node, &mut history, "awake", Some("c")).await;

        check(&*store, &history).await;
        until(|| node.runtime.view().in_flight == 0).await;
        assert_eq!(node.runtime.shutdown().await.unanswered, 0);
    }
}

#[tokio::test]
async fn a_read_may_be_dropped_at_any_await() {
    for (store, _backend) in stores().await {
        let node = Setup::shared().start_on(&store).await;
        for number in 1..=3 {
            let add = node.add("c", &format!("t-{number}"), None);
            add.await.unwrap();
        }
        let (c, counters) = (id("c"), &node.counters);
        let mut ended = [false; 4];
        for polls in 0..MOST_AWAITS {
            let at = At::Version(Version::new(2));
            ended = [
                dropped_after(polls, counters.state(&c)).await.is_some(),
                dropped_after(polls, counters.state_at(&c, at))
                    .await
                    .is_some(),
                dropped_after(polls, counters.history(&c, Version::ZERO, 9))
                    .await
                    .is_some(),
                dropped_after(
                    polls,
                    node.runtime.steps("Counter", c.clone(), Version::ZERO, 9),
                )
                .await
                .is_some(),
            ];

            assert_eq!(node.state("c").await.total, 3, "after {polls} polls");
            if ended == [true; 4] {
                break;
            }
        }
        assert_eq!(ended, [true; 4], "none has more than {MOST_AWAITS} awaits");
        until(|| node.runtime.view().in_flight == 0).await;
    }
}

#[tokio::test]
async fn a_page_that_nobody_waits_for_is_not_lost() {
    const EVENTS: u64 = 60;
    for (store, _backend) in stores().await {
        let node = Setup::shared().start_on(&store).await;
        let settings = StreamSettings {
            page: 7,
            tail_events: 9,
            ..StreamSettings::default()
        };
        let subscriptions = Subscriptions::new(Arc::clone(&store), settings);
        let mut subscription = subscriptions.subscribe(EventFilter::default(), Position::ZERO);
        let adding = async {
            for number in 0..EVENTS {
                let add = node.add("c", &format!("t-{number}"), None);
                add.await.unwrap();
            }
        };
        let following = async {
            let (mut seen, mut dropped) = (Vec::new(), 0);
            for polls in (0..4).cycle() {
                match dropped_after(polls, subscription.next_page()).await {
                    Some(page) => {
                        let page = page.unwrap();
                        seen.extend(page.iter().map(|event| event.position.get()));
                    }
                    None => dropped += 1,
                }
                if seen.last() == Some(&EVENTS) {
                    break;
                }
                tokio::task::yield_now().await;
            }
            (seen, dropped)
        };

        let ((), (seen, dropped)) = tokio::join!(adding, following);

        assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
        assert!(dropped > 10, "{dropped} were dropped");
    }
}

//! The reading side: subscriptions that follow the log, and what is built on them.
//!
//! It knows the store's port and nothing of aggregates, actors or HTTP. Positions of the log are
//! 1..n in the order in which commits become visible, so where a reader is, is one number, and
//! whoever has seen a position has seen all before it: everything here rests on that.

pub mod subscription;

pub use subscription::{
    EventPage, Reading, Subscription, SubscriptionError, SubscriptionSnapshot, Subscriptions,
    SubscriptionsSnapshot,
};

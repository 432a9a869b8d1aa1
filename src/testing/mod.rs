//! What tests of aggregates and of code on top of a store are made with.
//!
//! [`given`] tests an aggregate without a runtime, [`ManualClock`] tells the time a test wants,
//! [`FaultyStore`] fails where a script says so, and [`checker`] tells which promises were broken.
//! [`SimulatedStore`] and [`SimulatedClock`] draw all that may differ from a seed, and
//! [`AggregateContract`] runs a user's own aggregate under every disturbance at every step.
//! Knows `domain` and `store`, and the contract the `runtime` that it runs.

mod aggregate_contract;
pub mod checker;
mod faulty_store;
mod gate;
mod given_when_then;
mod manual_clock;
mod simulated_clock;
mod simulated_store;

pub use aggregate_contract::{AggregateContract, Disturbance};
pub use faulty_store::{Calls, Fault, FaultyStore, Operation};
pub use gate::Gate;
pub use given_when_then::{Given, Outcome, given};
pub use manual_clock::ManualClock;
pub use simulated_clock::SimulatedClock;
pub use simulated_store::{CallKind, SimulatedStore, Trouble};

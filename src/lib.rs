#![doc = include_str!("../README.md")]
//!
//! # The modules
//!
//! [`domain`] is what a user writes; [`runtime`] runs it; [`store`] keeps it; [`http`] serves it;
//! [`projection`] follows the log and keeps read models; [`adoption`] gives rows that were there before
//! their history; [`testing`] tests it; [`iam`] is a domain to read; [`auth`] knows who asks and what it
//! may do; [`settings`] sets the limits of all of them; [`metrics`] tells what they counted.

pub mod adoption;
pub mod auth;
pub mod cli;
pub mod domain;
pub mod http;
pub mod iam;
pub mod metrics;
pub mod projection;
pub mod runtime;
pub mod settings;
pub mod store;
pub mod testing;

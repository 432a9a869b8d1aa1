//! The edge of the server: who asks, what one client may take, and what every answer says.

mod addresses;
mod closing;
mod connections;
mod crowd;
mod deploy;
mod documents;
mod faces;
mod slow;
mod start;
mod tls;

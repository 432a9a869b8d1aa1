//! Aggregates that are rows of another program's table, alone or beside their events.

mod claims;
mod commands;
mod faults;
mod lives;
mod malformed;
mod meets;
mod person;
mod place;
mod repairs;
mod roles;
mod switches;

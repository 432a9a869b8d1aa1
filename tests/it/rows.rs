//! Aggregates that are rows of another program's table, alone or beside their events.

mod claims;
mod commands;
mod faults;
mod meets;
mod person;
mod place;
mod switches;

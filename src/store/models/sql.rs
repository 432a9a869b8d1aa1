//! One statement on whichever database it is.
//!
//! Both databases read `$1`, so most statements have one text. The two that keep time in another
//! type have two, made of one pattern.

/// Evaluates an expression on a connection of either database, or another on the tables in memory.
macro_rules! on {
    ($tx:expr, $tables:ident => $memory:expr, $connection:ident => $sql:expr $(,)?) => {
        match $tx {
            $crate::store::models::ModelTx::Memory($tables) => $memory,
            $crate::store::models::ModelTx::Sqlite($connection) => $sql,
            $crate::store::models::ModelTx::Postgres($connection) => $sql,
        }
    };
}
pub(super) use on;

/// The statement for a database: `now` stands where its clock is asked.
macro_rules! timed {
    ($tx:expr, $($part:tt),+ $(,)?) => {
        match $tx {
            $crate::store::models::ModelTx::Postgres(_) => {
                concat!($($crate::store::models::sql::part!(postgres $part)),+)
            }
            $crate::store::models::ModelTx::Memory(_)
            | $crate::store::models::ModelTx::Sqlite(_) => {
                concat!($($crate::store::models::sql::part!(sqlite $part)),+)
            }
        }
    };
}
pub(super) use timed;

/// A part of a timed statement: a text, the time now, the time in `$3` microseconds or in twice as
/// many, or a lock on the rows that are read.
macro_rules! part {
    (postgres now) => {
        "clock_timestamp()"
    };
    (sqlite now) => {
        "cast(unixepoch('subsec') * 1000000 as integer)"
    };
    (postgres later) => {
        "clock_timestamp() + $3::bigint * interval '1 microsecond'"
    };
    (sqlite later) => {
        "cast(unixepoch('subsec') * 1000000 as integer) + $3"
    };
    (postgres much_later) => {
        "clock_timestamp() + 2 * $3::bigint * interval '1 microsecond'"
    };
    (sqlite much_later) => {
        "cast(unixepoch('subsec') * 1000000 as integer) + 2 * $3"
    };
    (postgres ago) => {
        "clock_timestamp() - $2::bigint * interval '1 microsecond'"
    };
    (sqlite ago) => {
        "cast(unixepoch('subsec') * 1000000 as integer) - $2"
    };
    (postgres for_share) => {
        " for share"
    };
    (postgres for_update) => {
        " for update"
    };
    (sqlite for_share) => {
        ""
    };
    (sqlite for_update) => {
        ""
    };
    ($database:ident $text:literal) => {
        $text
    };
}
pub(super) use part;

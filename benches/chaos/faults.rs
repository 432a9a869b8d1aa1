//! The faults, and how each is made.

mod database;
mod network;
mod nodes;

use rand::rngs::StdRng;

use crate::{
    history::Nanos,
    strace,
    world::{World, faketime},
};

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// A node is ended by SIGKILL and started again.
    KillNode,
    /// A node is asked to end by SIGTERM, and started again.
    TerminateNode,
    /// A node is stopped by SIGSTOP for seconds, then goes on.
    PauseNode,
    /// The clock of a node jumps an hour ahead or back, then returns.
    ClockJump,
    /// The database is stopped at once, as by a crash, and started again.
    StopDatabase,
    /// One backend is ended by SIGKILL, whereupon PostgreSQL restarts them all.
    KillBackend,
    /// All connections are ended by `pg_terminate_backend`.
    TerminateBackends,
    /// The disk is full for a while.
    DiskFull,
    /// Flushes fail with EIO for a while.
    FlushError,
    /// Flushes take long for a while.
    SlowFlush,
    /// Somebody else holds locks for seconds, then rolls back.
    ForeignTransaction,
    /// Packets between a node and the database take long.
    Latency,
    /// What a node sends to the database disappears.
    SwallowRequests,
    /// What the database answers disappears.
    SwallowAnswers,
    /// Every connection of a node to the database is reset.
    Reset,
    /// The database's end of every connection is gone, and the node is not told.
    HalfOpen,
    /// The database refuses new connections.
    Refuse,
    /// An append is committed, and its answer is cut off.
    CutAnswer,
    /// An append is cut off before it reaches the database.
    CutRequest,
    /// The connection is cut while an append is on its way.
    CutBlind,
    /// The connection is cut, and the append reaches the database some time after.
    CutLate,
}

impl Fault {
    pub(crate) const ALL: [Self; 21] = [
        Self::KillNode,
        Self::TerminateNode,
        Self::PauseNode,
        Self::ClockJump,
        Self::StopDatabase,
        Self::KillBackend,
        Self::TerminateBackends,
        Self::DiskFull,
        Self::FlushError,
        Self::SlowFlush,
        Self::ForeignTransaction,
        Self::Latency,
        Self::SwallowRequests,
        Self::SwallowAnswers,
        Self::Reset,
        Self::HalfOpen,
        Self::Refuse,
        Self::CutAnswer,
        Self::CutRequest,
        Self::CutBlind,
        Self::CutLate,
    ];

    pub(crate) fn name(self) -> String {
        use clap::ValueEnum as _;
        let value = self.to_possible_value().expect("none is hidden");
        value.get_name().to_owned()
    }

    /// How often it is drawn, beside the others.
    pub(crate) const fn weight(self) -> u32 {
        match self {
            Self::KillNode => 10,
            Self::CutAnswer => 6,
            Self::StopDatabase | Self::KillBackend | Self::CutLate => 4,
            Self::PauseNode | Self::DiskFull => 2,
            _ => 3,
        }
    }

    /// Whether it can be made in this world; if not, why.
    pub(crate) fn possible(self, world: &World) -> Result<(), String> {
        let needs = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        match self {
            Self::KillNode | Self::TerminateNode | Self::PauseNode | Self::ForeignTransaction => {
                Ok(())
            }
            Self::ClockJump => needs(
                faketime().is_some(),
                "libfaketime is not installed; on Debian: apt install faketime",
            ),
            Self::StopDatabase | Self::KillBackend | Self::TerminateBackends => needs(
                world.place.cluster.is_some(),
                "there is no PostgreSQL cluster of the harness's own",
            ),
            Self::DiskFull => match &world.place.disk {
                Ok(_) => Ok(()),
                Err(reason) => Err(reason.clone()),
            },
            Self::FlushError | Self::SlowFlush => {
                needs(
                    world.is_sqlite() || world.place.cluster.is_some(),
                    "the database is not ours to trace",
                )?;
                strace::available()
            }
            Self::Latency
            | Self::SwallowRequests
            | Self::SwallowAnswers
            | Self::Reset
            | Self::HalfOpen
            | Self::Refuse
            | Self::CutAnswer
            | Self::CutRequest
            | Self::CutBlind
            | Self::CutLate => needs(
                !world.proxies.is_empty(),
                "there is no network between a node and its database",
            ),
        }
    }

    /// Makes it, and gives how it is measured how soon all is well again. Nothing where it did not
    /// come to pass, such as a cut that no append met.
    pub(crate) async fn make(self, world: &World, random: &mut StdRng) -> Option<Over> {
        match self {
            Self::KillNode | Self::TerminateNode | Self::PauseNode | Self::ClockJump => {
                Some(nodes::make(self, world, random).await)
            }
            Self::StopDatabase
            | Self::KillBackend
            | Self::TerminateBackends
            | Self::DiskFull
            | Self::FlushError
            | Self::SlowFlush
            | Self::ForeignTransaction => database::make(self, world, random).await,
            Self::Latency
            | Self::SwallowRequests
            | Self::SwallowAnswers
            | Self::Reset
            | Self::HalfOpen
            | Self::Refuse
            | Self::CutAnswer
            | Self::CutRequest
            | Self::CutBlind
            | Self::CutLate => network::make(self, world, random).await,
        }
    }
}

/// From when on a command that is sent must succeed again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    /// When the fault was made, or ended where it lasted.
    pub(crate) since: Nanos,
    /// The node that must answer; any where it is none.
    pub(crate) node: Option<usize>,
}

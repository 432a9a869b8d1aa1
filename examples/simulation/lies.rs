//! What a store may be wrong in: one promise each.

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lie {
    /// Every seventh batch is acknowledged and not stored.
    AcknowledgesWithoutStoring,
    /// Every seventh batch is stored, and its caller told that nothing was.
    StoresAndDenies,
    /// An append that is repeated is stored again.
    StoresAgain,
    /// A stale commit is stored on top of what it has not seen.
    SkipsTheVersionCheck,
    /// Receipts are not stored.
    ForgetsReceipts,
    /// Claims are not stored.
    ForgetsClaims,
    /// The commits of a batch are stored in another order than they are answered in.
    Reorders,
    /// Of a commit with several events only the first is stored.
    Tears,
    /// The verdicts of a batch's commits come in the reverse order.
    MixesVerdicts,
    /// Every seventh look at a version shows the one before.
    ShowsOldVersions,
    /// Every third recovery misses the last event.
    RecoversTooLittle,
    /// Every fifth page of the log has lost its last event.
    HidesEvents,
    /// Snapshots are told to be one version older than they are.
    MisdatesSnapshots,
    /// Every third row is not written.
    ForgetsRows,
    /// Rows are written whatever they are by then.
    OverwritesRows,
    /// What other programs inserted is numbered only where somebody reads it.
    NeverNumbers,
    /// An event of another program is numbered twice.
    NumbersTwice,
}

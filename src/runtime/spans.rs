//! The spans of a command: how long it waited, was decided, and was written.
//!
//! They are of the level `debug`, below the span in which the command was sent. Where nobody wants
//! those, making one is a look at a number.

use tracing::{Span, debug_span};

/// Where a command is on its way.
#[derive(Debug, Clone)]
pub(super) struct Stages {
    /// In which it was sent.
    command: Span,
    /// The stage it is in; the one before ends with it.
    stage: Span,
}

impl Stages {
    /// It was sent just now, and waits for its turn.
    pub(super) fn wait() -> Self {
        let command = Span::current();
        let stage = debug_span!(parent: &command, "wait");
        Self { command, stage }
    }

    /// It is decided.
    pub(super) fn decide(&mut self) -> Span {
        self.stage = debug_span!(parent: &self.command, "decide");
        self.stage.clone()
    }

    /// What was decided is handed over to be written, or waits to be.
    pub(super) fn flush(&mut self) {
        self.stage = debug_span!(parent: &self.command, "flush");
    }

    /// Its aggregate's state is read from the store first.
    pub(super) fn recovery(&self) -> Span {
        debug_span!(parent: &self.command, "recovery")
    }
}

//! Whether a batch is looked through before it is written.

/// So many batches are looked through once there was a reason to.
const BATCHES: u32 = 16;

/// What a batch seldom has is not looked for: an index or a guard objects, and the batch is looked
/// through and written once more. Where one had it, those that follow are likely to: before an
/// adoption, say, when rows have lived without events.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Doubt {
    left: u32,
}

impl Doubt {
    /// Whether the next batch is looked through first.
    pub(super) const fn next(&mut self) -> bool {
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }

    /// Notes that a batch had to be looked through.
    pub(super) const fn arise(&mut self) {
        self.left = BATCHES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_once_is_looked_for_a_while() {
        let mut doubt = Doubt::default();
        assert!(!doubt.next(), "nothing was met");

        doubt.arise();

        let looked = (0..100).take_while(|_| doubt.next()).count();
        assert_eq!(looked, 16);
        assert!(!doubt.next());
    }

    #[test]
    fn what_is_met_again_is_looked_for_as_long() {
        let mut doubt = Doubt::default();
        doubt.arise();
        assert!((0..10).all(|_| doubt.next()));

        doubt.arise();

        assert_eq!((0..100).take_while(|_| doubt.next()).count(), 16);
    }
}

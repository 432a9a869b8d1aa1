//! Errors as they are logged.

/// An error with all that lies under it, on one line, each reason once: some errors of others repeat
/// their source in their own text.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text = format!("{text}: {reason}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("it broke")]
        Plain(#[source] std::io::Error),
        #[error("it broke: {0}")]
        Repeating(#[source] std::io::Error),
    }

    #[test]
    fn each_reason_stands_once() {
        let reason = || std::io::Error::other("the disk is gone");

        for error in [Outer::Plain(reason()), Outer::Repeating(reason())] {
            assert_eq!(error_chain(&error), "it broke: the disk is gone");
        }
    }
}

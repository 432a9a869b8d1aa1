//! Rights: what a request needs, and what a caller has.

use std::{fmt, str::FromStr};

/// What a request needs; one of these, and never less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right<'a> {
    /// To send this command to aggregates of this type.
    Command {
        /// The aggregates' type.
        aggregate_type: &'a str,
        /// The command.
        command: &'a str,
    },
    /// To read the states and events of aggregates of this type, or the read model of this name.
    Read(&'a str),
    /// To ask the whole log.
    Audit,
    /// To follow the log.
    Stream,
    /// To see what the server is doing.
    Admin,
}

impl fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command {
                aggregate_type,
                command,
            } => write!(f, "command:{aggregate_type}:{command}"),
            Self::Read(aggregate_type) => write!(f, "read:{aggregate_type}"),
            Self::Audit => f.write_str("audit"),
            Self::Stream => f.write_str("stream"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// Text that grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no right: there are command:<Type>:<command>, read:<Type>, audit, stream, admin and \
     *, where * may also stand for a type or a command as a whole"
)]
pub struct InvalidRight(pub String);

/// One thing that a caller may do, with `*` for a whole segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Grant {
    Everything,
    Command(Segment, Segment),
    Read(Segment),
    Audit,
    Stream,
    Admin,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Any,
    Named(Box<str>),
}

impl Segment {
    /// A segment as it is granted: `*`, or a name without one and without a colon, which would
    /// leave open where the type ends and the command begins.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Self::Any),
            _ if text.is_empty() || text.contains(['*', ':']) => None,
            _ if text
                .chars()
                .any(|sign| sign.is_whitespace() || sign.is_control()) =>
            {
                None
            }
            _ => Some(Self::Named(text.into())),
        }
    }

    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(granted) => **granted == *name,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Named(name) => name,
        })
    }
}

impl Grant {
    fn covers(&self, right: &Right<'_>) -> bool {
        match (self, right) {
            (Self::Everything, _)
            | (Self::Audit, Right::Audit)
            | (Self::Stream, Right::Stream)
            | (Self::Admin, Right::Admin) => true,
            (
                Self::Command(types, commands),
                Right::Command {
                    aggregate_type,
                    command,
                },
            ) => types.covers(aggregate_type) && commands.covers(command),
            (Self::Read(types), Right::Read(aggregate_type)) => types.covers(aggregate_type),
            _ => false,
        }
    }
}

impl FromStr for Grant {
    type Err = InvalidRight;

    fn from_str(text: &str) -> Result<Self, InvalidRight> {
        let mut parts = text.split(':');
        let parsed = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("*"), None, ..) => Some(Self::Everything),
            (Some("audit"), None, ..) => Some(Self::Audit),
            (Some("stream"), None, ..) => Some(Self::Stream),
            (Some("admin"), None, ..) => Some(Self::Admin),
            (Some("read"), Some(types), None, _) => Segment::parse(types).map(Self::Read),
            (Some("command"), Some(types), Some(commands), None) => Segment::parse(types)
                .zip(Segment::parse(commands))
                .map(|(types, commands)| Self::Command(types, commands)),
            _ => None,
        };
        parsed.ok_or_else(|| InvalidRight(text.to_owned()))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Command(types, commands) => write!(f, "command:{types}:{commands}"),
            Self::Read(types) => write!(f, "read:{types}"),
            Self::Audit => f.write_str("audit"),
            Self::Stream => f.write_str("stream"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// What a caller may do; whatever is not in here, it may not.
///
/// ```
/// use dormouse::auth::{Right, Rights};
///
/// let rights = Rights::parse("command:User:* read:User")?;
/// assert!(rights.cover(&Right::Read("User")));
/// assert!(!rights.cover(&Right::Read("Role")));
/// # Ok::<(), dormouse::auth::InvalidRight>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights(Vec<Grant>);

impl Rights {
    /// Rights with blanks or commas between them.
    ///
    /// # Errors
    /// [`InvalidRight`], the first that is none.
    pub fn parse(text: &str) -> Result<Self, InvalidRight> {
        let parts = text.split(|sign: char| sign.is_whitespace() || sign == ',');
        let grants = parts.filter(|part| !part.is_empty()).map(str::parse);
        grants.collect::<Result<Vec<_>, _>>().map(Self::sorted)
    }

    /// Those among some texts that are rights; the others grant nothing.
    #[must_use]
    pub fn among<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let grants = texts
            .into_iter()
            .filter_map(|text| text.as_ref().parse().ok());
        Self::sorted(grants.collect())
    }

    fn sorted(mut grants: Vec<Grant>) -> Self {
        grants.sort();
        grants.dedup();
        Self(grants)
    }

    /// Whether they let a caller do this.
    #[must_use]
    pub fn cover(&self, right: &Right<'_>) -> bool {
        self.0.iter().any(|grant| grant.covers(right))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each as text.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Grant::to_string)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: Right<'_> = Right::Command {
        aggregate_type: "User",
        command: "create",
    };

    fn covers(granted: &str, right: &Right<'_>) -> bool {
        Rights::parse(granted).unwrap().cover(right)
    }

    #[test]
    fn nothing_is_granted_that_is_not_named() {
        let all = [
            CREATE,
            Right::Read("User"),
            Right::Audit,
            Right::Stream,
            Right::Admin,
        ];
        for right in all {
            assert!(!covers("", &right));
            let own = right.to_string();
            for other in all {
                assert_eq!(covers(&own, &other), right == other, "{own} {other}");
            }
            assert!(covers("*", &right));
        }
    }

    #[test]
    fn a_star_stands_for_one_whole_segment() {
        for granted in ["command:*:*", "command:User:*", "command:*:create"] {
            assert!(covers(granted, &CREATE), "{granted}");
        }
        for granted in ["command:Role:*", "command:*:delete", "read:*", "audit"] {
            assert!(!covers(granted, &CREATE), "{granted}");
        }
        assert!(covers("read:*", &Right::Read("User")));
    }

    #[test]
    fn a_name_with_a_colon_is_only_reached_by_a_star() {
        let odd = Right::Command {
            aggregate_type: "A:B",
            command: "c",
        };

        assert!(Rights::parse("command:A:B:c").is_err());
        assert!(!covers("command:A:c", &odd));
        assert!(covers("command:*:c", &odd));
    }

    #[test]
    fn what_is_no_right_is_refused_or_passed_over() {
        for text in [
            "Audit",
            "read",
            "read:",
            "read:Use*",
            "read:a:b",
            "command:User",
            "command::x",
            "**",
            "command:User:a:b",
            "admin:",
            "openid",
        ] {
            assert_eq!(Rights::parse(text), Err(InvalidRight(text.to_owned())));
            assert!(Rights::among([text]).is_empty());
        }
        let some = Rights::among(["profile", "audit", "openid", "audit"]);
        assert_eq!(some.to_string(), "audit");
    }
}

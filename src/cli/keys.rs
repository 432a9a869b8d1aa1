//! `keys create`, `keys list`, `keys revoke` and `keys subject`.

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{CliError, output, unless_reader_left};
use crate::{
    auth::{self, NewApiKey, Rights},
    domain::{Clock as _, SystemClock},
    settings::{Settings, StoreKind},
    store::{self, ApiKeyTable, StoredApiKey},
};

/// The most keys that are listed, revoked ones among them.
const MOST_LISTED: u32 = 100_000;

/// The longest time from now until a key expires: 1000 years of humantime's.
const LONGEST: TimeDelta = TimeDelta::seconds(31_557_600_000);

const CREATE_EXAMPLES: &str = "\
Examples:
  dormouse keys create --name billing --rights 'command:Invoice:*,read:Invoice' --expires 90d
  dormouse keys create --name auditor --rights 'audit,stream' --expires 2027-01-01T00:00:00Z

The key is printed on stdout, once: only a hash of it is kept. It is sent as
`Authorization: Bearer <key>`, and works at once.

Rights: command:<Type>:<command>, read:<Type>, audit, stream, admin, and * for all of them;
* may also stand for a type or a command as a whole. What is not granted is denied.";

const REVOKE_EXAMPLES: &str = "\
Examples:
  dormouse keys revoke billing

Running servers refuse the key within `auth.keys_reload` (5 s), and end the streams it opened.";

const SUBJECT_EXAMPLES: &str = "\
Examples:
  dormouse keys subject 0b5a4c0e-5d8e-4f8f-9a57-4a0c7e3f0d11
  dormouse events query --created-by \"$(dormouse keys subject ada@example.org)\"";

/// Commands on API keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key, and print it: once, for only its hash is kept.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Create),
    /// Print all keys, without their secrets.
    List(List),
    /// Take a key back, for good.
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(Revoke),
    /// Print what `created_by` says of the subject of a token.
    #[command(after_help = SUBJECT_EXAMPLES)]
    Subject(Subject),
}

/// The options of `keys create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Whose key it is: `created_by` of its events is `key:<NAME>`. A name is given once.
    #[arg(long)]
    name: String,
    /// What it may do, with commas or blanks between.
    #[arg(long)]
    rights: String,
    /// When it expires: a time from now, like 90d and up to 1000y, a time like
    /// 2027-01-01T00:00:00Z, or `never`.
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Expiry,
}

/// The options of `keys list`.
#[derive(Debug, Args)]
pub struct List {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The options of `keys revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The key's name.
    #[arg(value_name = "NAME")]
    name: String,
}

/// The options of `keys subject`.
#[derive(Debug, Args)]
pub struct Subject {
    /// The `sub` of a token.
    #[arg(value_name = "SUBJECT")]
    subject: String,
}

/// When a key expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Never,
    In(TimeDelta),
    At(DateTime<Utc>),
}

fn expiry(text: &str) -> Result<Expiry, &'static str> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Expiry::At(time.to_utc()));
    }
    // What lies beyond the calendar must not become `never`.
    let time = humantime::parse_duration(text).ok();
    let time = time.and_then(|time| TimeDelta::from_std(time).ok());
    let time = time.filter(|time| *time <= LONGEST).map(Expiry::In);
    time.ok_or("must be a time like 90d, up to 1000y, or 2027-01-01T00:00:00Z, or `never`")
}

impl Expiry {
    fn time(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Never => None,
            Self::At(time) => Some(time),
            Self::In(time) => {
                let later = now.checked_add_signed(time);
                Some(later.unwrap_or(DateTime::<Utc>::MAX_UTC))
            }
        }
    }
}

/// A key, as it is printed.
#[derive(Serialize)]
struct ShownKey<'a> {
    id: String,
    name: &'a str,
    rights: Vec<&'a str>,
    state: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
}

impl<'a> ShownKey<'a> {
    fn new(key: &'a StoredApiKey, now: DateTime<Utc>) -> Self {
        let state = if key.revoked_at.is_some() {
            "revoked"
        } else if key.expires_at.is_some_and(|time| time <= now) {
            "expired"
        } else {
            "valid"
        };
        Self {
            id: key.id.to_string(),
            name: &key.name,
            rights: key.rights.split_whitespace().collect(),
            state,
            created_at: output::time(key.created_at),
            expires_at: key.expires_at.map(output::time),
            revoked_at: key.revoked_at.map(output::time),
            last_used_at: key.last_used_at.map(output::time),
        }
    }
}

impl KeysCommand {
    /// Runs the command on the store of these settings, beside running servers.
    ///
    /// # Errors
    /// [`CliError`], fit to be shown to whoever typed the command.
    pub async fn run(self, settings: &Settings) -> Result<(), CliError> {
        if let Self::Subject(subject) = &self {
            let printed = output::line(auth::created_by(&subject.subject));
            return unless_reader_left(printed.map_err(CliError::from));
        }
        if settings.store.url.kind() == StoreKind::Memory {
            return Err(CliError::NothingToRead);
        }
        let store = match &self {
            Self::List(_) => store::open_to_read(&settings.store).await?,
            Self::Create(_) | Self::Revoke(_) | Self::Subject(_) => {
                store::open_beside(&settings.store).await?
            }
        };
        let done = match store.api_keys() {
            None => Err(CliError::NothingToRead),
            Some(table) => self.run_on(&*table, settings).await,
        };
        store.close().await;
        done
    }

    async fn run_on(self, table: &dyn ApiKeyTable, settings: &Settings) -> Result<(), CliError> {
        let now = SystemClock.now();
        match self {
            // Nobody has a key that could not be printed: that is a failure, whoever left.
            Self::Create(create) => create.run(table, settings, now).await,
            Self::List(list) => unless_reader_left(list.run(table, now).await),
            Self::Revoke(revoke) => {
                if !table.revoke(&revoke.name, now).await? {
                    return Err(CliError::NoSuchKey(revoke.name));
                }
                eprintln!("{} is revoked", revoke.name);
                Ok(())
            }
            Self::Subject(_) => Ok(()),
        }
    }
}

impl Create {
    async fn run(
        self,
        table: &dyn ApiKeyTable,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<(), CliError> {
        let rights = Rights::parse(&self.rights)?;
        if rights.is_empty() {
            return Err(CliError::NoRights);
        }
        let new = NewApiKey {
            name: self.name.clone(),
            rights,
            expires_at: self.expires.time(now),
        };
        let key = auth::create_key(table, new, settings.auth.max_keys, now).await?;
        let shown: Zeroizing<String> = key.expose();
        output::line(&*shown)?;
        eprintln!(
            "the key of {} is shown this once; keep it where secrets are kept",
            self.name
        );
        Ok(())
    }
}

impl List {
    async fn run(self, table: &dyn ApiKeyTable, now: DateTime<Utc>) -> Result<(), CliError> {
        let keys = table.all(MOST_LISTED).await?;
        let columns = [
            "name",
            "state",
            "rights",
            "created",
            "expires",
            "revoked",
            "last used",
        ];
        let mut shown = output::table(columns, &["rights"]);
        for key in &keys {
            let key = ShownKey::new(key, now);
            if self.json {
                output::json(&key)?;
                continue;
            }
            let time = |time: Option<&str>| output::text(time.unwrap_or("never"));
            shown.add_row(vec![
                output::text(key.name),
                output::text(key.state),
                output::text(&key.rights.join(" ")),
                output::text(&key.created_at),
                time(key.expires_at.as_deref()),
                time(key.revoked_at.as_deref()),
                time(key.last_used_at.as_deref()),
            ]);
        }
        if keys.is_empty() {
            eprintln!("there are no keys");
        } else if !self.json {
            output::line(shown)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_from_now_a_time_or_never() {
        let now = DateTime::UNIX_EPOCH;

        assert_eq!(expiry("never").unwrap().time(now), None);
        let day = expiry("1d").unwrap().time(now).unwrap();
        assert_eq!(day - now, TimeDelta::days(1));
        let at = expiry("1970-01-03T00:00:00Z").unwrap().time(now).unwrap();
        assert_eq!(at - now, TimeDelta::days(2));
        for wrong in ["soon", "1001y", "1000000y", "999999999999y", ""] {
            assert!(expiry(wrong).is_err(), "{wrong}");
        }
        let longest = expiry("1000y").unwrap().time(now).unwrap();
        assert_eq!(longest - now, LONGEST);
    }
}

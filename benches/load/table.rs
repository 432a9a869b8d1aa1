//! The accounts as rows of a table that the bench makes, for the modes that keep such rows.

use std::{collections::BTreeMap, error::Error};

use dormouse::{
    domain::{
        Column, ColumnKind, CreatedBy, Row, RowOrigin, RowValue, Stamp, StateRow, StateTable,
        UnmappableRow,
    },
    settings::{StoreKind, StoreUrl},
};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use super::account::{Account, AccountEvent};

const NAME: &str = "name";
const UNIQUE: &str = "is_unique";
const UPDATED_AT: &str = "updated_at";
const UPDATED_BY: &str = "updated_by";

/// A table as services have them: a key that is text, a column that nobody maps, and stamps.
const TABLE: &str = "create table if not exists load_accounts (
    id text primary key,
    name text not null,
    is_unique boolean not null,
    remark text not null default '',
    created_at timestamp not null default current_timestamp,
    updated_at timestamp,
    updated_by text
)";

/// Makes the table in the store's database.
///
/// # Errors
/// The database cannot be reached, or refuses it.
pub(crate) async fn make(url: &StoreUrl) -> Result<(), Box<dyn Error>> {
    match url.kind() {
        StoreKind::Memory => {}
        StoreKind::Postgres => {
            let mut connection = PgConnection::connect(url.expose()).await?;
            sqlx::query(TABLE).execute(&mut connection).await?;
            connection.close().await?;
        }
        StoreKind::Sqlite => {
            let mut connection = SqliteConnection::connect(url.expose()).await?;
            sqlx::query(TABLE).execute(&mut connection).await?;
            connection.close().await?;
        }
    }
    Ok(())
}

/// The name in a row.
pub(crate) fn name(row: &Row) -> Option<&str> {
    match row.values.get(NAME) {
        Some(RowValue::Text(name)) => Some(name),
        Some(
            RowValue::Null
            | RowValue::Bool(_)
            | RowValue::Int(_)
            | RowValue::Time(_)
            | RowValue::Json(_)
            | RowValue::Secret(_),
        )
        | None => None,
    }
}

fn stamps(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
    vec![
        (UPDATED_AT, RowValue::Time(stamp.now)),
        (
            UPDATED_BY,
            RowValue::text(stamp.created_by.map(CreatedBy::as_str)),
        ),
    ]
}

impl StateRow for Account {
    fn table() -> StateTable {
        StateTable {
            name: "load_accounts".into(),
            key: "id",
            columns: vec![Column::text(NAME), Column::new(UNIQUE, ColumnKind::Bool)],
            stamps: vec![
                Column::new(UPDATED_AT, ColumnKind::Time),
                Column::text(UPDATED_BY),
            ],
            links: Vec::new(),
        }
    }

    fn to_row(&self) -> Option<Row> {
        let Self::Open { name, unique } = self else {
            return None;
        };
        Some(Row {
            values: BTreeMap::from([
                (NAME, RowValue::Text(name.clone())),
                (UNIQUE, RowValue::Bool(*unique)),
            ]),
            links: BTreeMap::new(),
        })
    }

    fn from_row(row: &Row) -> Result<Self, UnmappableRow> {
        let unmappable = |column| UnmappableRow {
            column,
            problem: "is none that the bench writes".into(),
        };
        let name = name(row).ok_or_else(|| unmappable(NAME))?;
        let Some(RowValue::Bool(unique)) = row.values.get(UNIQUE) else {
            return Err(unmappable(UNIQUE));
        };
        Ok(Self::Open {
            name: name.to_owned(),
            unique: *unique,
        })
    }

    fn stamps_on_insert(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        stamps(stamp)
    }

    fn stamps_on_update(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        stamps(stamp)
    }

    fn origin(_: &[(&'static str, RowValue)]) -> RowOrigin {
        RowOrigin::default()
    }

    fn adopted(&self) -> AccountEvent {
        self.reconciled("")
    }

    fn reconciled(&self, _reason: &str) -> AccountEvent {
        match self {
            Self::Open { name, unique } => AccountEvent::Opened {
                name: name.clone(),
                unique: *unique,
            },
            Self::Absent => AccountEvent::Renamed {
                name: String::new(),
            },
        }
    }
}

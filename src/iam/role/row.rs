//! A role as a row of `sys_role`. What it permits has no column there and lives in its events.

use std::collections::BTreeMap;

use super::{Role, RoleAdopted, RoleEvent, RoleReconciled};
use crate::{
    domain::{Column, Row, RowOrigin, RowValue, Stamp, StateRow, StateTable, UnmappableRow},
    iam::row::{self, Columns},
};

const CODE: &str = "code";
const NAME: &str = "name";
const DESCRIPTION: &str = "description";
const PID: &str = "pid";
const STATUS: &str = "status";

impl StateRow for Role {
    fn table() -> StateTable {
        StateTable {
            name: "sys_role".into(),
            key: "id",
            columns: [CODE, NAME, DESCRIPTION, PID, STATUS]
                .map(Column::text)
                .to_vec(),
            stamps: row::stamps(),
            links: Vec::new(),
        }
    }

    fn to_row(&self) -> Option<Row> {
        let Self::Active { details } = self else {
            return None;
        };
        let text = |text: &str| RowValue::Text(text.to_owned());
        let values = BTreeMap::from([
            (CODE, text(&details.code)),
            (NAME, text(&details.name)),
            (DESCRIPTION, RowValue::text(details.description.as_deref())),
            (PID, text(&details.pid)),
            (STATUS, text(details.status.as_str())),
        ]);
        Some(Row {
            values,
            links: BTreeMap::new(),
        })
    }

    fn from_row(row: &Row) -> Result<Self, UnmappableRow> {
        let columns = Columns(row);
        Ok(Self::from_adopted(&RoleAdopted {
            code: columns.text(CODE)?,
            name: columns.text(NAME)?,
            description: columns.optional(DESCRIPTION)?,
            pid: columns.text(PID)?,
            status: columns.status(STATUS)?,
        }))
    }

    fn keeping(self, known: &Self) -> Self {
        self.with_permissions_of(known)
    }

    fn stamps_on_insert(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        row::on_insert(stamp)
    }

    fn stamps_on_update(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        row::on_update(stamp)
    }

    fn origin(stamps: &[(&'static str, RowValue)]) -> RowOrigin {
        row::origin(stamps)
    }

    fn adopted(&self) -> RoleEvent {
        let whole = whole(self).map(RoleEvent::Adopted);
        // Without a row there is nothing to adopt; it says so instead of making a role up.
        whole.unwrap_or_else(|| self.reconciled("there is no row"))
    }

    fn reconciled(&self, reason: &str) -> RoleEvent {
        RoleEvent::Reconciled(RoleReconciled {
            reason: reason.to_owned(),
            state: whole(self),
        })
    }
}

/// All that a row tells of a role; nothing where it has none.
fn whole(role: &Role) -> Option<RoleAdopted> {
    let Role::Active { details } = role else {
        return None;
    };
    Some(RoleAdopted {
        code: details.code.clone(),
        name: details.name.clone(),
        description: details.description.clone(),
        pid: details.pid.clone(),
        status: details.status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Aggregate as _,
        iam::{Permission, RolePermissionsAssigned},
    };

    fn row(name: &str) -> Row {
        let text = |text: &str| RowValue::Text(text.to_owned());
        Row {
            values: BTreeMap::from([
                (CODE, text("ROLE_SUPER")),
                (NAME, text(name)),
                (DESCRIPTION, RowValue::Null),
                (PID, text("0")),
                (STATUS, text("ENABLED")),
            ]),
            links: BTreeMap::new(),
        }
    }

    /// A role that permits something.
    fn granted() -> Role {
        let mut role = Role::from_row(&row("超级管理员")).unwrap();
        role.apply(&RoleEvent::PermissionsAssigned(RolePermissionsAssigned {
            permissions: vec![Permission {
                resource: "user".to_owned(),
                action: "read".to_owned(),
            }],
        }));
        role
    }

    #[test]
    fn a_row_and_its_state_say_the_same() {
        let role = Role::from_row(&row("超级管理员")).unwrap();
        let mut adopted = Role::Absent;

        adopted.apply(&role.adopted());

        assert_eq!(role.to_row().unwrap(), row("超级管理员"));
        assert_eq!(adopted, role);
    }

    #[test]
    fn permissions_outlive_a_row_that_another_program_has_changed() {
        let known = granted();
        let mut reconciled = known.clone();

        let target = Role::from_row(&row("another")).unwrap().keeping(&known);
        reconciled.apply(&target.reconciled("a test"));

        assert_eq!(reconciled, target);
        let details = reconciled.details().unwrap();
        assert_eq!(
            (details.name.as_str(), details.permissions.len()),
            ("another", 1)
        );
    }

    #[test]
    fn a_role_that_comes_back_after_it_was_deleted_permits_nothing() {
        let mut role = granted();
        role.apply(&RoleEvent::Deleted);
        let target = Role::from_row(&row("another")).unwrap().keeping(&role);

        role.apply(&target.reconciled("a test"));

        assert_eq!(role, target);
        assert!(role.details().unwrap().permissions.is_empty());
    }
}

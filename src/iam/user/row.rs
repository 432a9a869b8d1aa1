//! A user as a row of `sys_user` with its roles in `sys_user_role`.

use std::collections::{BTreeMap, BTreeSet};

use super::{User, UserAdopted, UserEvent, UserReconciled};
use crate::{
    domain::{
        Column, ColumnKind, LinkTable, Row, RowOrigin, RowValue, Stamp, StateRow, StateTable,
        UnmappableRow,
    },
    iam::row::{self, Columns},
};

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const DOMAIN: &str = "domain";
const NICK_NAME: &str = "nick_name";
const EMAIL: &str = "email";
const PHONE_NUMBER: &str = "phone_number";
const AVATAR: &str = "avatar";
const STATUS: &str = "status";
const ROLES: &str = "sys_user_role";

/// What our commands would refuse maps as well: texts of a state are plain, so a user with an odd
/// address is served, and only an update of that address must meet the rule.
impl StateRow for User {
    fn table() -> StateTable {
        StateTable {
            name: "sys_user".into(),
            key: "id",
            columns: vec![
                Column::text(USERNAME),
                Column::new(PASSWORD, ColumnKind::Secret),
                Column::text(DOMAIN),
                Column::text(NICK_NAME),
                Column::text(EMAIL),
                Column::text(PHONE_NUMBER),
                Column::text(AVATAR),
                Column::text(STATUS),
            ],
            stamps: row::stamps(),
            links: vec![LinkTable {
                name: ROLES,
                owner: "user_id",
                member: "role_id",
            }],
        }
    }

    fn to_row(&self) -> Option<Row> {
        let Self::Active {
            profile,
            password_hash,
        } = self
        else {
            return None;
        };
        let text = |text: &str| RowValue::Text(text.to_owned());
        let values = BTreeMap::from([
            (USERNAME, text(&profile.username)),
            (PASSWORD, RowValue::Secret(password_hash.clone())),
            (DOMAIN, text(&profile.domain)),
            (NICK_NAME, text(&profile.nick_name)),
            (EMAIL, RowValue::text(profile.email.as_deref())),
            (
                PHONE_NUMBER,
                RowValue::text(profile.phone_number.as_deref()),
            ),
            (AVATAR, RowValue::text(profile.avatar.as_deref())),
            (STATUS, text(profile.status.as_str())),
        ]);
        let roles: BTreeSet<String> = profile.role_ids.iter().cloned().collect();
        Some(Row {
            values,
            links: BTreeMap::from([(ROLES, roles)]),
        })
    }

    fn from_row(row: &Row) -> Result<Self, UnmappableRow> {
        let columns = Columns(row);
        Ok(Self::from_adopted(&UserAdopted {
            username: columns.text(USERNAME)?,
            password_hash: columns.secret(PASSWORD)?,
            domain: columns.text(DOMAIN)?,
            nick_name: columns.text(NICK_NAME)?,
            email: columns.optional(EMAIL)?,
            phone_number: columns.optional(PHONE_NUMBER)?,
            avatar: columns.optional(AVATAR)?,
            status: columns.status(STATUS)?,
            role_ids: columns.members(ROLES),
        }))
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

    fn adopted(&self) -> UserEvent {
        let whole = whole(self).map(UserEvent::Adopted);
        // Without a row there is nothing to adopt; it says so instead of making a user up.
        whole.unwrap_or_else(|| self.reconciled("there is no row"))
    }

    fn reconciled(&self, reason: &str) -> UserEvent {
        UserEvent::Reconciled(UserReconciled {
            reason: reason.to_owned(),
            state: whole(self),
        })
    }
}

/// All that a row tells of a user; nothing where it has none.
fn whole(user: &User) -> Option<UserAdopted> {
    let User::Active {
        profile,
        password_hash,
    } = user
    else {
        return None;
    };
    let roles: BTreeSet<&String> = profile.role_ids.iter().collect();
    Some(UserAdopted {
        username: profile.username.clone(),
        password_hash: password_hash.clone(),
        domain: profile.domain.clone(),
        nick_name: profile.nick_name.clone(),
        email: profile.email.clone(),
        phone_number: profile.phone_number.clone(),
        avatar: profile.avatar.clone(),
        status: profile.status,
        role_ids: roles.into_iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Aggregate as _, Claim, CreatedBy, EventCodec, Secret, redact_raw};

    fn row() -> Row {
        let text = |text: &str| RowValue::Text(text.to_owned());
        Row {
            values: BTreeMap::from([
                (USERNAME, text("Soybean")),
                (PASSWORD, RowValue::Secret(Secret::new("$2a$10$x".into()))),
                (DOMAIN, text("built-in")),
                (NICK_NAME, text("")),
                (EMAIL, text("no address at all")),
                (PHONE_NUMBER, RowValue::Null),
                (AVATAR, text(" ")),
                (STATUS, text("BANNED")),
            ]),
            links: BTreeMap::from([(ROLES, BTreeSet::from(["1".into(), "a/b".into()]))]),
        }
    }

    #[test]
    fn a_row_and_its_state_say_the_same_also_where_a_command_would_refuse_it() {
        let user = User::from_row(&row()).unwrap();

        assert_eq!(user.to_row().unwrap(), row());
        assert_eq!(
            user.claims(),
            [
                Claim::new("username", "Soybean"),
                Claim::new("email", "no address at all")
            ]
        );
    }

    #[test]
    fn a_mapped_row_has_every_column_of_the_table_and_no_other() {
        let table = User::table();
        let columns: BTreeSet<&str> = table.columns.iter().map(|column| column.name).collect();

        let mapped: BTreeSet<&str> = row().values.keys().copied().collect();

        assert_eq!(mapped, columns);
    }

    #[test]
    fn the_column_that_no_state_can_have_is_named_without_its_value() {
        let mut unknown = row();
        unknown
            .values
            .insert(STATUS, RowValue::Text("7361".to_owned()));
        let mut null = row();
        null.values.insert(PASSWORD, RowValue::Null);

        let errors = [unknown, null].map(|row| User::from_row(&row).unwrap_err().to_string());

        assert_eq!(
            errors,
            [
                "column `status` is none of ENABLED, DISABLED and BANNED",
                "column `password` is null"
            ]
        );
    }

    #[test]
    fn adopting_leads_from_nothing_and_reconciling_from_anything_to_the_state_of_the_row() {
        let user = User::from_row(&row()).unwrap();
        let (mut adopted, mut reconciled) = (User::Absent, User::Absent);
        let mut deleted = user.clone();

        adopted.apply(&user.adopted());
        deleted.apply(&UserEvent::Deleted);
        for state in [&mut reconciled, &mut deleted] {
            state.apply(&user.reconciled("a test"));
        }

        assert_eq!(
            [adopted, reconciled, deleted],
            [(); 3].map(|()| user.clone())
        );
    }

    #[test]
    fn a_row_that_is_gone_deletes_the_user_and_frees_its_names() {
        let mut user = User::from_row(&row()).unwrap();
        let mut absent = User::Absent;

        user.apply(&User::Absent.reconciled("the row is gone"));
        absent.apply(&User::Absent.reconciled("the row is gone"));

        assert!(matches!(user, User::Deleted { .. }));
        assert_eq!((user.claims(), user.to_row()), (Vec::new(), None));
        assert_eq!(absent, User::Absent);
    }

    #[test]
    fn the_events_of_rows_are_stored_in_this_shape_with_the_hash_as_a_secret() {
        let user = User::from_row(&row()).unwrap();
        let state = r#"{"username":"Soybean","password_hash":{"$secret":"$2a$10$x"},"domain":"built-in","nick_name":"","email":"no address at all","phone_number":null,"avatar":" ","status":"BANNED","role_ids":["1","a/b"]}"#;
        let reconciled = format!(r#"{{"reason":"r","state":{state}}}"#);
        let gone = r#"{"reason":"r","state":null}"#;
        let cases = [
            (user.adopted(), "UserAdoptedEvent", state),
            (user.reconciled("r"), "UserReconciledEvent", &reconciled),
            (User::Absent.reconciled("r"), "UserReconciledEvent", gone),
        ];
        let codec = EventCodec::<UserEvent>::new([]).unwrap();
        for (event, name, data) in cases {
            let (event_type, stored) = codec.encode(&event).unwrap();

            assert_eq!((event_type.name, stored.get()), (name, data));
            assert_eq!(codec.decode(name, 1, &stored).unwrap(), event);
            assert!(!redact_raw(stored).get().contains("$2a"));
        }
    }

    #[test]
    fn the_stamps_tell_who_made_a_row_and_when() {
        let now = chrono::DateTime::from_timestamp(1, 0).unwrap();
        let ann = CreatedBy::parse("ann").unwrap();
        let stamp = Stamp {
            now,
            created_by: Some(&ann),
        };

        let origin = User::origin(&User::stamps_on_insert(&stamp));
        let nobody = User::stamps_on_update(&Stamp {
            created_by: None,
            ..stamp
        });

        assert_eq!(origin.created_by, Some(ann));
        assert_eq!(origin.created_at, Some(now));
        assert!(nobody.contains(&("updated_by", RowValue::Text("-1".to_owned()))));
        let long = vec![("created_by", RowValue::Text("x".repeat(27)))];
        assert_eq!(User::origin(&long), RowOrigin::default());
    }
}

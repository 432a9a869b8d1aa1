//! The tables of an existing admin system, as it has them.

use std::sync::Arc;

use dormouse::{
    domain::{Column, ColumnKind, LinkTable, RowValue, Secret, StateTable},
    store::{EventStore, Loss, RowAccess, Verdict},
};

use super::{
    super::{Database, commit, position},
    Neighbour, load, text, writing,
};

const TABLES: &str = include_str!("../../../../examples/data/admin_api.sql");

fn users() -> Arc<StateTable> {
    Arc::new(StateTable {
        name: "public.sys_user".into(),
        key: "id",
        columns: vec![
            Column::text("username"),
            Column::new("password", ColumnKind::Secret),
            Column::text("domain"),
            Column::text("nick_name"),
            Column::text("email"),
            Column::text("phone_number"),
            Column::text("avatar"),
            Column::text("status"),
        ],
        stamps: vec![
            Column::new("created_at", ColumnKind::Time),
            Column::text("created_by"),
            Column::new("updated_at", ColumnKind::Time),
            Column::text("updated_by"),
        ],
        links: vec![LinkTable {
            name: "sys_user_role",
            owner: "user_id",
            member: "role_id",
        }],
    })
}

#[tokio::test]
async fn a_user_of_the_admin_system_is_read_and_changed_in_its_tables() {
    let database = Database::fresh().await;
    let neighbour = Neighbour::at(&database.url).await;
    neighbour.run(TABLES).await;
    let store = database.store().await;
    store
        .state_rows()
        .unwrap()
        .check(&users(), RowAccess::Write)
        .await
        .unwrap();

    let loaded = load(&store, &users(), "1").await;
    let before = loaded.row.unwrap();
    let mut after = before.clone();
    after.values.insert("status", text("BANNED"));
    after
        .links
        .insert("sys_user_role", ["2".into(), "3".into()].into());
    let mut change = writing(commit("1", 0, 1), &users(), Some(&before), Some(&after));
    let time = RowValue::Time("2026-01-02T03:04:05.678912Z".parse().unwrap());
    change.row.as_mut().unwrap().on_update = vec![("updated_at", time), ("updated_by", text("-1"))];
    let verdict = store.save(change).await.unwrap();

    assert_eq!(position(&verdict), 1);
    assert_eq!(before.values["username"], text("Soybean"));
    let hash = "$2a$10$BrNwelZswsGy9FGCTARd5efBtM0Ra4Xz8e8DoT86EOju9Ii0jpBg6";
    let secret = RowValue::Secret(Secret::new(hash.to_owned()));
    assert_eq!(before.values["password"], secret);
    assert_eq!(before.links["sys_user_role"], ["1".to_owned()].into());
    let made_at = RowValue::Time("2024-05-15T00:00:00Z".parse().unwrap());
    assert_eq!(loaded.stamps[0], ("created_at", made_at));
    assert_eq!(loaded.stamps[1], ("created_by", text("-1")));
    let now = load(&store, &users(), "1").await;
    assert_eq!(now.row, Some(after));
    let rounded = RowValue::Time("2026-01-02T03:04:05.679Z".parse().unwrap());
    assert_eq!(now.stamps[2], ("updated_at", rounded));
    let built_in: bool = sqlx::query_scalar("select built_in from sys_user where id = '1'")
        .fetch_one(&neighbour.0)
        .await
        .unwrap();
    assert!(built_in, "a column that is not mapped is left alone");
}

#[tokio::test]
async fn a_username_that_the_admin_system_has_is_refused_by_its_index() {
    let database = Database::fresh().await;
    Neighbour::at(&database.url).await.run(TABLES).await;
    let store = database.store().await;
    let theirs = load(&store, &users(), "2").await.row.unwrap();
    let mut taken = theirs.clone();
    taken.values.insert("email", RowValue::Null);
    taken.values.insert("phone_number", RowValue::Null);

    let mut change = writing(commit("new", 0, 1), &users(), None, Some(&taken));
    change.row.as_mut().unwrap().on_insert = vec![("created_by", text("-1"))];
    let verdict = store.save(change).await.unwrap();

    let Verdict::Lost(Loss::Refused { claim }) = verdict else {
        panic!("not refused: {verdict:?}");
    };
    let expected = ("username", "Administrator");
    assert_eq!((&*claim.name, &*claim.value), expected);
}

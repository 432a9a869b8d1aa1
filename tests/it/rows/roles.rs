//! The reference domain's own rows: what a role permits, and what a user is, ends with its row.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dormouse::{
    domain::{Aggregate, AggregateType, Handle, RowValue, StreamId, Version},
    iam::{self, PasswordHasher, PasswordSettings, Permission, Role, User},
    runtime::{Aggregates, CommandOptions, Runtime},
    settings::{AggregateSettings, Mode, Reconcile, RuntimeSettings, Settings, Writers},
    store::{EventStore, memory::MemoryRow},
};
use serde_json::{Value, json};

use super::place::{Kind, Place, Theirs};
use crate::support::counter::id;

const TABLES: [&str; 3] = [
    "create table sys_role (id text primary key, code text not null, name text not null, \
     description text, pid text not null, status text not null, created_at timestamp, \
     created_by text, updated_at timestamp, updated_by text)",
    "create table sys_user (id text primary key, username text not null, password text not null, \
     domain text not null, nick_name text not null, email text, phone_number text, avatar text, \
     status text not null, created_at timestamp, created_by text, updated_at timestamp, \
     updated_by text)",
    "create table sys_user_role (user_id text not null, role_id text not null, \
     primary key (user_id, role_id))",
];

/// What the other program writes of a role, and of a user. No time of making: the row may be any.
pub(super) const ROLE: [(&str, &str); 4] = [
    ("code", "SUPER"),
    ("name", "Super"),
    ("pid", "0"),
    ("status", "ENABLED"),
];
pub(super) const USER: [(&str, &str); 5] = [
    ("username", "ann"),
    ("password", "their-hash"),
    ("domain", "theirs"),
    ("nick_name", "Ann"),
    ("status", "DISABLED"),
];

pub(super) async fn place(kind: Kind) -> Place {
    let place = Place::of(kind).await;
    if !matches!(place.theirs, Theirs::Memory(_)) {
        for table in TABLES {
            place.run(table.to_owned()).await;
        }
    }
    place
}

pub(super) async fn insert(place: &Place, table: &str, values: &[(&str, &str)]) {
    let Theirs::Memory(theirs) = &place.theirs else {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let values: Vec<String> = values.iter().map(|(_, it)| format!("'{it}'")).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        let insert = format!("insert into {table} (id, {names}) values ('a', {values})");
        place.run(insert).await;
        return;
    };
    let read = |name: &str, value: &str| match name {
        "password" => RowValue::Secret(dormouse::domain::Secret::new(value.to_owned())),
        "created_at" => RowValue::Time(format!("{value}Z").parse().unwrap()),
        _ => RowValue::Text(value.to_owned()),
    };
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), read(name, value)));
    let row = MemoryRow {
        values: values.collect(),
        links: BTreeMap::<String, BTreeSet<String>>::new(),
    };
    theirs.with_state_table(table, |table| table.rows.insert("a".to_owned(), row));
}

pub(super) async fn remove(place: &Place, table: &str) {
    match &place.theirs {
        Theirs::Memory(theirs) => {
            theirs.with_state_table(table, |table| table.rows.remove("a"));
        }
        Theirs::Sqlite(_) | Theirs::Postgres(_) => {
            place
                .run(format!("delete from {table} where id = 'a'"))
                .await;
        }
    }
}

pub(super) struct Node<A: Aggregate> {
    runtime: Runtime,
    aggregates: Aggregates<A>,
    store: Arc<dyn EventStore>,
}

impl<A: Aggregate> Node<A> {
    pub(super) async fn start(place: &Place, mode: Mode) -> Self {
        let settings = AggregateSettings {
            mode,
            reconcile: Reconcile::Off,
            ..AggregateSettings::default()
        };
        let settings = Settings {
            runtime: RuntimeSettings {
                arbiters: 1,
                ..RuntimeSettings::default()
            },
            aggregates: [(A::TYPE.to_owned(), settings)].into(),
            ..Settings::default()
        };
        let hasher = PasswordHasher::new(PasswordSettings {
            memory_kib: 8,
            iterations: 1,
            ..PasswordSettings::default()
        });
        let store = place.handle().await;
        let builder = Runtime::builder(Arc::clone(&store))
            .settings(settings)
            .writers(Writers::Shared);
        let started = iam::register(builder, &hasher.unwrap()).start().await;
        let runtime = started.unwrap();
        Self {
            aggregates: runtime.aggregates().unwrap(),
            runtime,
            store,
        }
    }

    pub(super) async fn send<C>(&self, fields: Value)
    where
        A: Handle<C>,
        C: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
        let command: C = serde_json::from_value(fields).unwrap();
        let options = CommandOptions::default();
        let sent = self.aggregates.execute(&id("a"), command, options).await;
        sent.unwrap();
    }

    pub(super) async fn state(&self) -> A {
        let found = self.aggregates.state(&id("a")).await.unwrap();
        found.map(|found| found.state).unwrap_or_default()
    }

    pub(super) async fn event_types(&self) -> Vec<String> {
        let stream = StreamId {
            aggregate_type: AggregateType::parse(A::TYPE).unwrap(),
            aggregate_id: id("a"),
        };
        let events = self.store.events(&stream, Version::ZERO, 100).await;
        let events = events.unwrap().into_iter();
        events.map(|event| event.event_type).collect()
    }

    pub(super) async fn stop(self) {
        assert_eq!(self.runtime.shutdown().await.unanswered, 0);
    }
}

pub(super) async fn permissions(node: &Node<Role>) -> Vec<Permission> {
    let role = node.state().await;
    role.details().unwrap().permissions.clone()
}

async fn a_role_that_others_make_anew_permits_nothing(kind: Kind) {
    for is_deleted_by_command in [true, false] {
        let place = place(kind).await;
        insert(&place, "sys_role", &ROLE).await;
        let node = Node::<Role>::start(&place, Mode::DualWrite).await;
        node.send::<iam::AssignPermissions>(json!({
            "permissions": [{ "resource": "*", "action": "*" }],
        }))
        .await;
        assert_eq!(permissions(&node).await.len(), 1);
        node.stop().await;
        let node = Node::<Role>::start(&place, Mode::StateOnly).await;
        assert_eq!(permissions(&node).await.len(), 1);
        if is_deleted_by_command {
            node.send::<iam::DeleteRole>(json!({})).await;
        } else {
            remove(&place, "sys_role").await;
        }
        let gone = node.state().await;
        assert!(!matches!(gone, Role::Active { .. }), "{gone:?}");

        insert(&place, "sys_role", &ROLE).await;

        assert_eq!(permissions(&node).await, []);
        node.send::<iam::UpdateRole>(json!({ "name": "Another" }))
            .await;
        node.stop().await;
        for mode in [Mode::StateOnly, Mode::DualWrite, Mode::EventSourced] {
            let node = Node::<Role>::start(&place, mode).await;
            assert_eq!(permissions(&node).await, [], "{mode:?}");
            node.stop().await;
        }
        let node = Node::<Role>::start(&place, Mode::EventSourced).await;
        let expected = [
            "RoleAdoptedEvent",
            "RolePermissionsAssignedEvent",
            "RoleReconciledEvent",
            "RoleReconciledEvent",
        ];
        assert_eq!(node.event_types().await, expected);
        node.stop().await;
    }
}

async fn a_user_that_others_make_anew_is_what_its_row_says(kind: Kind) {
    let place = place(kind).await;
    insert(&place, "sys_user", &USER).await;
    let node = Node::<User>::start(&place, Mode::DualWrite).await;
    node.send::<iam::AssignRoles>(json!({ "role_ids": ["super"] }))
        .await;
    node.send::<iam::UpdateUser>(json!({ "email": "ann@example.org", "status": "ENABLED" }))
        .await;
    node.stop().await;
    let node = Node::<User>::start(&place, Mode::StateOnly).await;
    assert_eq!(node.state().await.profile().unwrap().role_ids, ["super"]);
    node.send::<iam::DeleteUser>(json!({})).await;

    insert(&place, "sys_user", &USER).await;

    assert_is_their_user(&node).await;
    node.stop().await;
    for mode in [Mode::StateOnly, Mode::DualWrite, Mode::EventSourced] {
        let node = Node::<User>::start(&place, mode).await;
        assert_is_their_user(&node).await;
        node.stop().await;
    }
}

async fn assert_is_their_user(node: &Node<User>) {
    let user = node.state().await;
    let User::Active {
        profile,
        password_hash,
    } = &user
    else {
        panic!("{user:?}");
    };
    assert_eq!(profile.role_ids, Vec::<String>::new());
    assert_eq!(
        (profile.email.as_deref(), profile.status),
        (None, iam::Status::Disabled)
    );
    assert_eq!(password_hash.expose(), "their-hash");
}

super::place::on_every_store!(
    a_role_that_others_make_anew_permits_nothing,
    a_user_that_others_make_anew_is_what_its_row_says,
);

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{EventCodec, Secret, SnapshotShape as _, Version, redact},
    iam::{
        Password, PasswordHasher, PasswordSettings, Patch, Salt, Status, prepare_create,
        prepare_password,
    },
    testing::given,
};

fn hash(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn created() -> UserCreated {
    UserCreated {
        username: "ann".to_owned(),
        password_hash: hash("7361"),
        domain: "home".to_owned(),
        nick_name: "Ann".to_owned(),
        email: Some("Ann@Example.org".to_owned()),
        phone_number: None,
        avatar: None,
        status: Status::Enabled,
    }
}

fn ann() -> UserEvent {
    UserEvent::Created(created())
}

fn roles(ids: &[&str]) -> UserEvent {
    let role_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    UserEvent::RolesAssigned(UserRolesAssigned { role_ids })
}

fn register() -> RegisterUser {
    let sent: CreateUser = command(json!({
        "username": "ann", "password": "x", "domain": "home", "nick_name": "Ann",
        "email": "Ann@Example.org"
    }));
    RegisterUser {
        username: sent.username,
        password_hash: hash("7361"),
        domain: sent.domain,
        nick_name: sent.nick_name,
        email: sent.email,
        phone_number: sent.phone_number,
        avatar: sent.avatar,
    }
}

fn replace() -> ReplacePassword {
    ReplacePassword {
        password_hash: hash("new"),
    }
}

fn command<C: serde::de::DeserializeOwned>(body: Value) -> C {
    serde_json::from_value(body).unwrap()
}

/// The error of a body, led by the field it is about, as the edge tells it.
fn error_of<C: serde::de::DeserializeOwned + std::fmt::Debug>(body: &Value) -> String {
    let text = body.to_string();
    let mut json = serde_json::Deserializer::from_str(&text);
    let error = serde_path_to_error::deserialize::<_, C>(&mut json).unwrap_err();
    format!("{}: {}", error.path(), error.inner())
}

#[test]
fn a_registered_user_is_created_and_holds_its_claims() {
    given::<User>([])
        .when(register())
        .then([ann()])
        .then_version(Version::new(1))
        .then_claims([
            Claim::new("username", "ann"),
            Claim::new("email", "ann@example.org"),
        ]);
}

#[test]
fn a_user_exists_once() {
    given::<User>([ann()])
        .when(register())
        .then_rejected("user-already-exists");
}

#[test]
fn an_absent_user_takes_no_command_but_create() {
    let absent = || given::<User>([]);

    absent()
        .when(UpdateUser::default())
        .then_rejected("user-not-found");
    absent().when(replace()).then_rejected("user-not-found");
    absent()
        .when(command::<AssignRoles>(json!({"role_ids": []})))
        .then_rejected("user-not-found");
    absent().when(DeleteUser {}).then_rejected("user-not-found");
}

#[test]
fn a_deleted_user_takes_no_command() {
    let deleted = || given::<User>([ann(), UserEvent::Deleted]);

    deleted().when(register()).then_rejected("user-deleted");
    deleted()
        .when(UpdateUser::default())
        .then_rejected("user-deleted");
    deleted().when(replace()).then_rejected("user-deleted");
    deleted()
        .when(command::<AssignRoles>(json!({"role_ids": []})))
        .then_rejected("user-deleted");
    deleted().when(DeleteUser {}).then_rejected("user-deleted");
}

#[test]
fn an_update_stores_only_what_differs() {
    let update: UpdateUser = command(json!({
        "nick_name": "Ann", "email": null, "phone_number": "+1 2", "avatar": null,
        "status": "BANNED"
    }));

    given::<User>([ann()])
        .when(update)
        .then([UserEvent::Updated(UserUpdated {
            email: Patch::Clear,
            phone_number: Patch::Set("+1 2".to_owned()),
            status: Some(Status::Banned),
            ..UserUpdated::default()
        })])
        .then_claims([
            Claim::new("username", "ann"),
            Claim::new("phone_number", "+1 2"),
        ])
        .then_state(|user| {
            let profile = user.profile().unwrap();
            assert_eq!(profile.nick_name, "Ann");
            assert_eq!(profile.email, None);
            assert_eq!(profile.status, Status::Banned);
        });
}

#[test]
fn an_update_that_differs_in_nothing_stores_nothing() {
    for body in [
        json!({}),
        json!({"nick_name": "Ann", "email": "Ann@Example.org", "avatar": null, "status": "ENABLED"}),
    ] {
        given::<User>([ann()])
            .when(command::<UpdateUser>(body))
            .then_nothing();
    }
}

#[test]
fn an_email_address_in_another_case_is_a_change_but_the_same_claim() {
    let update: UpdateUser = command(json!({"email": "ann@example.org"}));

    let outcome = given::<User>([ann()]).when(update);

    let claims = given::<User>([ann()]).when(replace()).state().claims();
    outcome
        .then([UserEvent::Updated(UserUpdated {
            email: Patch::Set("ann@example.org".to_owned()),
            ..UserUpdated::default()
        })])
        .then_claims(claims);
}

#[test]
fn a_new_password_replaces_the_hash() {
    let changed = UserPasswordChanged {
        password_hash: hash("new"),
    };

    given::<User>([ann()])
        .when(replace())
        .then([UserEvent::PasswordChanged(changed)])
        .then_state(|user| {
            let User::Active { password_hash, .. } = user else {
                panic!("the user is not active");
            };
            assert_eq!(password_hash.expose(), "new");
        });
}

#[test]
fn roles_are_a_set() {
    let assign = |ids: Value| command::<AssignRoles>(json!({"role_ids": ids}));

    given::<User>([ann()])
        .when(assign(json!(["b", "a", "b"])))
        .then([roles(&["a", "b"])]);
    given::<User>([ann(), roles(&["b", "a"])])
        .when(assign(json!(["b", "a", "a"])))
        .then_nothing();
    given::<User>([ann(), roles(&["a"])])
        .when(assign(json!([])))
        .then([roles(&[])]);
    given::<User>([ann()])
        .when(assign(json!([])))
        .then_nothing();
}

#[test]
fn a_deleted_user_frees_its_claims_and_forgets_its_password() {
    given::<User>([ann()])
        .when(DeleteUser {})
        .then([UserEvent::Deleted])
        .then_claims([])
        .then_state(|user| {
            let state = serde_json::to_value(user).unwrap();
            assert_eq!(state["deleted"], true);
            assert_eq!(state["username"], "ann");
            assert_eq!(state.get("password_hash"), None);
        });
}

#[test]
fn events_out_of_place_are_passed_over() {
    let mut user = User::default();
    user.apply(&roles(&["a"]));
    user.apply(&UserEvent::Deleted);
    assert_eq!(user, User::Absent);

    user.apply(&ann());
    user.apply(&UserEvent::Deleted);
    let deleted = user.clone();
    user.apply(&UserEvent::Updated(UserUpdated::default()));
    user.apply(&UserEvent::Deleted);
    assert_eq!(user, deleted);
}

#[test]
fn a_reader_sees_a_flat_object_without_the_hash() {
    let state = given::<User>([ann(), roles(&["a"])]).when(replace());

    let mut seen = serde_json::to_value(state.state()).unwrap();
    redact(&mut seen);

    assert_eq!(
        seen,
        json!({
            "username": "ann", "domain": "home", "nick_name": "Ann", "email": "Ann@Example.org",
            "phone_number": null, "avatar": null, "status": "ENABLED", "role_ids": ["a"],
            "deleted": false
        })
    );
}

#[test]
fn events_are_stored_in_this_shape() {
    let updated = UserUpdated {
        email: Patch::Clear,
        avatar: Patch::Set("/a.png".to_owned()),
        status: Some(Status::Disabled),
        ..UserUpdated::default()
    };
    let changed = UserPasswordChanged {
        password_hash: hash("h"),
    };
    let cases = [
        (
            ann(),
            "UserCreatedEvent",
            r#"{"username":"ann","password_hash":{"$secret":"7361"},"domain":"home","nick_name":"Ann","email":"Ann@Example.org","phone_number":null,"avatar":null,"status":"ENABLED"}"#,
        ),
        (
            UserEvent::Updated(updated),
            "UserUpdatedEvent",
            r#"{"email":null,"avatar":"/a.png","status":"DISABLED"}"#,
        ),
        (
            UserEvent::PasswordChanged(changed),
            "UserPasswordChangedEvent",
            r#"{"password_hash":{"$secret":"h"}}"#,
        ),
        (
            roles(&["a", "b"]),
            "UserRolesAssignedEvent",
            r#"{"role_ids":["a","b"]}"#,
        ),
        (UserEvent::Deleted, "UserDeletedEvent", "{}"),
    ];
    let codec = EventCodec::<UserEvent>::new([]).unwrap();
    for (event, name, data) in cases {
        let (event_type, stored) = codec.encode(&event).unwrap();

        assert_eq!((event_type.name, stored.get()), (name, data));
        assert_eq!(codec.decode(name, 1, &stored).unwrap(), event);
    }
}

#[test]
fn commands_are_written_as_they_were_sent() {
    let update = json!({"nick_name": "A", "email": null, "status": "BANNED"});
    let parsed: UpdateUser = command(update.clone());
    let assign: AssignRoles = command(json!({"role_ids": ["b", "a", "b"]}));

    assert_eq!(serde_json::to_value(parsed).unwrap(), update);
    assert_eq!(
        serde_json::to_string(&assign).unwrap(),
        r#"{"role_ids":["a","b"]}"#
    );
    assert_eq!(serde_json::to_string(&DeleteUser {}).unwrap(), "{}");
    assert_eq!(
        serde_json::to_string(&register()).unwrap(),
        r#"{"username":"ann","password_hash":{"$secret":"7361"},"domain":"home","nick_name":"Ann","email":"Ann@Example.org"}"#
    );
}

#[test]
fn a_bad_command_names_its_field() {
    let mut create = json!({"username": "a", "password": "7361", "domain": "d"});
    let missing = error_of::<CreateUser>(&create);
    assert!(missing.contains("missing field `nick_name`"), "{missing}");

    create["nick_name"] = json!("n");
    for (field, value) in [
        ("username", json!(" a")),
        ("username", json!(7)),
        ("domain", json!("")),
        ("nick_name", json!(null)),
        ("email", json!("nobody")),
        ("phone_number", json!("home")),
        ("avatar", json!("a\0")),
        ("password", json!("")),
        ("password", json!(7361)),
        ("admin", json!(true)),
    ] {
        let mut body = create.clone();
        body[field] = value;

        let error = error_of::<CreateUser>(&body);

        assert!(error.contains(field), "{field}: {error}");
        assert!(!error.contains("7361"), "{error}");
    }
}

#[test]
fn nick_name_and_status_cannot_be_cleared() {
    for field in ["nick_name", "status"] {
        let error = error_of::<UpdateUser>(&json!({ field: null }));

        assert!(
            error.starts_with(&format!("{field}: it cannot be cleared")),
            "{error}"
        );
    }
    let status = error_of::<UpdateUser>(&json!({"status": "enabled"}));
    assert!(status.starts_with("status: unknown variant"), "{status}");
}

#[test]
fn role_ids_are_ids_and_not_without_number() {
    let many: Vec<String> = (0..1001).map(|number| number.to_string()).collect();

    let bad = error_of::<AssignRoles>(&json!({"role_ids": ["a", "b/c"]}));
    let many = error_of::<AssignRoles>(&json!({"role_ids": many}));
    let extra = error_of::<DeleteUser>(&json!({"why": 1}));

    assert!(bad.starts_with("role_ids[1]: a role id must be"), "{bad}");
    assert!(many.contains("1000 elements at most"), "{many}");
    assert!(extra.contains("unknown field `why`"), "{extra}");
}

#[test]
fn debug_shows_no_password_and_no_hash() {
    let create: CreateUser = command(json!({
        "username": "a", "password": "7361", "domain": "d", "nick_name": "n"
    }));
    let change: ChangePassword = command(json!({"password": "7361"}));
    let secret = hash("7361");
    let changed = UserEvent::PasswordChanged(UserPasswordChanged {
        password_hash: secret.clone(),
    });
    let replace = ReplacePassword {
        password_hash: secret,
    };
    let outcome = given::<User>([ann()]).when(UpdateUser::default());

    let text = format!(
        "{create:?} {change:?} {:?} {replace:?} {:?} {changed:?} {:?}",
        register(),
        ann(),
        outcome.state()
    );

    assert!(!text.contains("7361"), "{text}");
}

#[tokio::test]
async fn a_retried_command_is_prepared_to_the_same_bytes() {
    let settings = PasswordSettings {
        memory_kib: 8,
        iterations: 1,
        ..PasswordSettings::default()
    };
    let hasher = PasswordHasher::new(settings).unwrap();
    let create: CreateUser = command(json!({
        "username": "ann", "password": "right", "domain": "home", "nick_name": "Ann"
    }));
    let change = ChangePassword {
        password: Password::parse("other").unwrap(),
    };
    let salt = Salt::random();

    let first = prepare_create(&hasher, create.clone(), salt).await.unwrap();
    let again = prepare_create(&hasher, create, salt).await.unwrap();
    let other = prepare_password(&hasher, change, salt).await.unwrap();

    assert_eq!(
        serde_json::to_string(&first).unwrap(),
        serde_json::to_string(&again).unwrap()
    );
    let right = Password::parse("right").unwrap();
    assert!(hasher.verify(right, &first.password_hash).await.unwrap());
    assert_ne!(first.password_hash, other.password_hash);
}

fn profiles() -> impl Strategy<Value = UserProfile> {
    let text = || any::<String>();
    let maybe = || proptest::option::of(any::<String>());
    let status = prop_oneof![
        Just(Status::Enabled),
        Just(Status::Disabled),
        Just(Status::Banned)
    ];
    let role_ids = proptest::collection::vec(any::<String>(), 0..4);
    (
        (text(), text(), text()),
        (maybe(), maybe(), maybe()),
        status,
        role_ids,
    )
        .prop_map(|(names, contacts, status, role_ids)| UserProfile {
            username: names.0,
            domain: names.1,
            nick_name: names.2,
            email: contacts.0,
            phone_number: contacts.1,
            avatar: contacts.2,
            status,
            role_ids,
        })
}

proptest! {
    #[test]
    fn every_state_survives_its_snapshot(profile in profiles(), secret in any::<String>()) {
        let active = User::Active { profile: profile.clone(), password_hash: Secret::new(secret) };
        for user in [User::Absent, active, User::Deleted { profile }] {
            let snapshot = user.to_snapshot().unwrap();
            let back = User::from_snapshot(&snapshot, &User::fingerprint());
            prop_assert_eq!(back, Some(user));
        }
    }
}

#[test]
fn a_snapshot_that_lacks_a_field_does_not_fit() {
    let user = given::<User>([ann()]).when(UpdateUser::default());
    let whole = serde_json::to_value(user.state()).unwrap();
    for field in ["username", "password_hash", "status", "deleted"] {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(field);

        assert!(serde_json::from_value::<User>(lacking).is_err(), "{field}");
    }
}

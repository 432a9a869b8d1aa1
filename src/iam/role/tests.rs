use serde_json::{Value, json};

use super::*;
use crate::{
    domain::EventCodec,
    iam::{Patch, Status},
    testing::given,
};

fn admin() -> RoleEvent {
    RoleEvent::Created(RoleCreated {
        code: "admin".to_owned(),
        name: "Administrator".to_owned(),
        description: Some("may do all".to_owned()),
        pid: "0".to_owned(),
        status: Status::Enabled,
    })
}

fn permitted(permissions: &[(&str, &str)]) -> RoleEvent {
    let permissions = permissions.iter().map(|(resource, action)| Permission {
        resource: (*resource).to_owned(),
        action: (*action).to_owned(),
    });
    RoleEvent::PermissionsAssigned(RolePermissionsAssigned {
        permissions: permissions.collect(),
    })
}

fn command<C: serde::de::DeserializeOwned>(body: Value) -> C {
    serde_json::from_value(body).unwrap()
}

fn create() -> CreateRole {
    command(json!({"code": "admin", "name": "Administrator", "description": "may do all"}))
}

fn assign(permissions: &Value) -> AssignPermissions {
    command(json!({ "permissions": permissions }))
}

#[test]
fn a_created_role_is_enabled_at_the_top_and_claims_its_code() {
    given::<Role>([])
        .when(create())
        .then([admin()])
        .then_claims([Claim::new("code", "admin")]);
}

#[test]
fn a_role_may_stand_below_another() {
    let create: CreateRole = command(json!({"code": "a", "name": "A", "pid": "r-1"}));

    given::<Role>([]).when(create).then_state(|role| {
        let details = role.details().unwrap();
        assert_eq!((details.pid.as_str(), &details.description), ("r-1", &None));
    });
}

#[test]
fn commands_out_of_place_are_rejected() {
    given::<Role>([admin()])
        .when(create())
        .then_rejected("role-already-exists");
    for (events, reason) in [
        (vec![], "role-not-found"),
        (vec![admin(), RoleEvent::Deleted], "role-deleted"),
    ] {
        let given = || given::<Role>(events.clone());
        given().when(UpdateRole::default()).then_rejected(reason);
        given().when(assign(&json!([]))).then_rejected(reason);
        given().when(DeleteRole {}).then_rejected(reason);
    }
    given::<Role>([admin(), RoleEvent::Deleted])
        .when(create())
        .then_rejected("role-deleted");
}

#[test]
fn an_update_stores_only_what_differs() {
    let update: UpdateRole =
        command(json!({"name": "Administrator", "description": null, "status": "DISABLED"}));

    given::<Role>([admin()])
        .when(update)
        .then([RoleEvent::Updated(RoleUpdated {
            name: None,
            description: Patch::Clear,
            status: Some(Status::Disabled),
        })])
        .then_state(|role| assert_eq!(role.details().unwrap().description, None));
    given::<Role>([admin()])
        .when(command::<UpdateRole>(json!({"name": "Administrator"})))
        .then_nothing();
}

#[test]
fn permissions_are_a_set() {
    let both = json!([
        {"resource": "user", "action": "write"},
        {"resource": "user", "action": "read"},
        {"resource": "user", "action": "read"}
    ]);
    let stored = [("user", "read"), ("user", "write")];
    let unsorted = [("user", "write"), ("user", "read")];

    given::<Role>([admin()])
        .when(assign(&both))
        .then([permitted(&stored)]);
    given::<Role>([admin(), permitted(&unsorted)])
        .when(assign(&both))
        .then_nothing();
    given::<Role>([admin(), permitted(&stored)])
        .when(assign(&json!([])))
        .then([permitted(&[])]);
}

#[test]
fn a_deleted_role_frees_its_code_and_says_so() {
    given::<Role>([admin()])
        .when(DeleteRole {})
        .then([RoleEvent::Deleted])
        .then_claims([])
        .then_state(|role| {
            assert_eq!(
                serde_json::to_value(role).unwrap(),
                json!({
                    "code": "admin", "name": "Administrator", "description": "may do all",
                    "pid": "0", "status": "ENABLED", "permissions": [], "deleted": true
                })
            );
        });
}

#[test]
fn events_are_stored_in_this_shape() {
    let updated = RoleUpdated {
        description: Patch::Set("d".to_owned()),
        ..RoleUpdated::default()
    };
    let cases = [
        (
            admin(),
            "RoleCreatedEvent",
            r#"{"code":"admin","name":"Administrator","description":"may do all","pid":"0","status":"ENABLED"}"#,
        ),
        (
            RoleEvent::Updated(updated),
            "RoleUpdatedEvent",
            r#"{"description":"d"}"#,
        ),
        (
            permitted(&[("user", "read")]),
            "RolePermissionsAssignedEvent",
            r#"{"permissions":[{"resource":"user","action":"read"}]}"#,
        ),
        (RoleEvent::Deleted, "RoleDeletedEvent", "{}"),
    ];
    let codec = EventCodec::<RoleEvent>::new([]).unwrap();
    for (event, name, data) in cases {
        let (event_type, stored) = codec.encode(&event).unwrap();

        assert_eq!((event_type.name, stored.get()), (name, data));
        assert_eq!(codec.decode(name, 1, &stored).unwrap(), event);
    }
}

#[test]
fn commands_are_written_in_one_way() {
    assert_eq!(
        serde_json::to_string(&create()).unwrap(),
        r#"{"code":"admin","name":"Administrator","description":"may do all"}"#
    );
    assert_eq!(serde_json::to_string(&DeleteRole {}).unwrap(), "{}");
    assert_eq!(serde_json::to_string(&UpdateRole::default()).unwrap(), "{}");
}

#[test]
fn bad_commands_are_refused() {
    for body in [
        json!({"name": "a"}),
        json!({"code": " a", "name": "a"}),
        json!({"code": "a", "name": ""}),
        json!({"code": "a", "name": "a", "pid": "a/b"}),
        json!({"code": "a", "name": "a", "status": "ENABLED"}),
    ] {
        assert!(
            serde_json::from_value::<CreateRole>(body.clone()).is_err(),
            "{body}"
        );
    }
    for body in [
        json!({"name": null}),
        json!({"status": null}),
        json!({"code": "b"}),
    ] {
        assert!(
            serde_json::from_value::<UpdateRole>(body.clone()).is_err(),
            "{body}"
        );
    }
    for body in [
        json!({"permissions": [{"resource": "a"}]}),
        json!({"permissions": [{"resource": "a", "action": ""}]}),
        json!({"permissions": [{"resource": "a", "action": "b", "effect": "deny"}]}),
    ] {
        assert!(
            serde_json::from_value::<AssignPermissions>(body.clone()).is_err(),
            "{body}"
        );
    }
}

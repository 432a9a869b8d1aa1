//! The whole of `Role`.

use serde_json::{Value, json};

use super::{Wire, role};
use crate::support::backends;

#[tokio::test]
async fn a_role_lives_from_its_creation_to_its_end() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let create =
            json!({"code": "admin", "name": "Admin", "description": "all\nof it", "pid": "r0"});
        let permissions = json!({"permissions": [
            {"resource": "user", "action": "write"}, {"resource": "role", "action": "read"},
            {"resource": "user", "action": "write"},
        ]});
        let steps = [
            ("create", create, "RoleCreatedEvent"),
            (
                "update",
                json!({"name": "Boss", "description": null, "status": "DISABLED"}),
                "RoleUpdatedEvent",
            ),
            (
                "assign-permissions",
                permissions,
                "RolePermissionsAssignedEvent",
            ),
        ];
        for (command, body, event_type) in steps {
            let answer = wire.command("Role/r1", command, &body).await;
            assert_eq!(answer.event_types(), [event_type]);
        }
        let mut expected = json!({
            "code": "admin", "name": "Boss", "description": null, "pid": "r0", "status": "DISABLED",
            "permissions": [
                {"resource": "role", "action": "read"}, {"resource": "user", "action": "write"},
            ],
            "deleted": false,
        });
        assert_eq!(wire.state("Role/r1").await, expected);

        let deleted = wire.command("Role/r1", "delete", &json!({})).await;

        assert_eq!(deleted.is(200).event_types(), ["RoleDeletedEvent"]);
        expected["deleted"] = json!(true);
        assert_eq!(wire.state("Role/r1").await, expected);
    }
}

#[tokio::test]
async fn a_role_without_a_parent_has_the_parent_0() {
    let wire = Wire::sqlite(&[]).await;

    wire.command("Role/r1", "create", &role("c")).await.is(201);

    let state = wire.state("Role/r1").await;
    assert_eq!(
        (&state["pid"], &state["description"]),
        (&json!("0"), &Value::Null)
    );
}

#[tokio::test]
async fn what_does_not_differ_stores_no_event() {
    let wire = Wire::sqlite(&[]).await;
    wire.command("Role/r1", "create", &role("c")).await.is(201);
    let nothing = [
        ("update", json!({})),
        (
            "update",
            json!({"name": "Role", "description": null, "status": "ENABLED"}),
        ),
        ("assign-permissions", json!({"permissions": []})),
    ];
    for (command, body) in nothing {
        let answer = wire.command("Role/r1", command, &body).await;
        assert_eq!(answer.is(200).body["events"], json!([]));
    }
    assert_eq!(wire.head().await, 1);
}

#[tokio::test]
async fn a_role_rejects_what_does_not_fit_its_life() {
    let wire = Wire::sqlite(&[]).await;
    let others = [
        ("update", json!({"name": "N"})),
        ("assign-permissions", json!({"permissions": []})),
        ("delete", json!({})),
    ];
    for (command, body) in &others {
        let answer = wire.command("Role/r1", command, body).await;
        answer.problem(422, "command-rejected");
        assert_eq!(answer.body["reason"], "role-not-found");
    }
    wire.command("Role/r1", "create", &role("c")).await.is(201);
    let again = wire.command("Role/r1", "create", &role("d")).await;
    again.problem(422, "command-rejected");
    assert_eq!(again.body["reason"], "role-already-exists");
    wire.command("Role/r1", "delete", &json!({})).await.is(200);
    for (command, body) in others.iter().chain([&("create", role("c"))]) {
        let answer = wire.command("Role/r1", command, body).await;
        answer.problem(422, "command-rejected");
        assert_eq!(answer.body["reason"], "role-deleted");
    }
}

#[tokio::test]
async fn a_code_is_unique_among_roles_that_are_not_deleted() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.command("Role/r1", "create", &role("c")).await.is(201);

        let taken = wire.command("Role/r2", "create", &role("c")).await;
        wire.command("Role/r1", "delete", &json!({})).await.is(200);
        let free = wire.command("Role/r2", "create", &role("c")).await;

        taken.problem(409, "claim-taken");
        assert_eq!(
            (&taken.body["claim"], &taken.body["value"]),
            (&json!("code"), &json!("c"))
        );
        free.is(201);
    }
}

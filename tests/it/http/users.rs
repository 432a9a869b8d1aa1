//! The whole of `User`.

use serde_json::{Value, json};

use super::{Wire, user};
use crate::support::backends;

fn full(username: &str) -> Value {
    json!({
        "username": username, "password": "correct horse", "domain": "test", "nick_name": "Nick",
        "email": format!("{username}@Example.org"), "phone_number": "+49 30 1", "avatar": "a.png",
    })
}

#[tokio::test]
async fn a_user_is_created_with_all_it_was_given() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;

        wire.command("User/u1", "create", &full("zoë"))
            .await
            .is(201);

        let expected = json!({
            "username": "zoë", "domain": "test", "nick_name": "Nick", "email": "zoë@Example.org",
            "phone_number": "+49 30 1", "avatar": "a.png", "status": "ENABLED", "role_ids": [],
            "deleted": false,
        });
        assert_eq!(wire.state("User/u1").await, expected);
    }
}

#[tokio::test]
async fn an_optional_field_may_be_null_when_a_user_is_created() {
    let wire = Wire::sqlite(&[]).await;
    let mut body = user("a");
    for field in ["email", "phone_number", "avatar"] {
        body[field] = Value::Null;
    }

    wire.command("User/u1", "create", &body).await.is(201);

    assert_eq!(wire.state("User/u1").await["email"], Value::Null);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_clears_what_is_null() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.command("User/u1", "create", &full("a")).await.is(201);
        // Each change, what of it the event holds, and what the state then reads.
        let steps = [
            (
                json!({"nick_name": "N"}),
                json!({"nick_name": "N"}),
                json!(["N", "a@Example.org", "+49 30 1", "a.png", "ENABLED"]),
            ),
            (
                json!({"email": null}),
                json!({"email": null}),
                json!(["N", null, "+49 30 1", "a.png", "ENABLED"]),
            ),
            (
                json!({"email": "b@c", "phone_number": null, "avatar": null}),
                json!({"email": "b@c", "phone_number": null, "avatar": null}),
                json!(["N", "b@c", null, null, "ENABLED"]),
            ),
            (
                json!({"nick_name": "N", "status": "BANNED", "avatar": null}),
                json!({"status": "BANNED"}),
                json!(["N", "b@c", null, null, "BANNED"]),
            ),
            (
                json!({"status": "DISABLED"}),
                json!({"status": "DISABLED"}),
                json!(["N", "b@c", null, null, "DISABLED"]),
            ),
            (
                json!({"status": "ENABLED", "avatar": "b.png"}),
                json!({"status": "ENABLED", "avatar": "b.png"}),
                json!(["N", "b@c", null, "b.png", "ENABLED"]),
            ),
        ];
        for (change, stored, read) in steps {
            let answer = wire.command("User/u1", "update", &change).await;

            assert_eq!(answer.is(200).event_types(), ["UserUpdatedEvent"]);
            assert_eq!(
                wire.events("User/u1").await.last().unwrap()["event_data"],
                stored
            );
            let state = wire.state("User/u1").await;
            let now = ["nick_name", "email", "phone_number", "avatar", "status"]
                .map(|field| &state[field]);
            assert_eq!(json!(now), read);
        }
    }
}

#[tokio::test]
async fn an_update_with_nothing_that_differs_stores_no_event() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;
    let nothing = [
        json!({}),
        json!({"nick_name": "Nick"}),
        json!({"email": null, "avatar": null}),
        json!({"status": "ENABLED"}),
    ];
    for body in nothing {
        let answer = wire.command("User/u1", "update", &body).await;

        assert_eq!(answer.is(200).body["events"], json!([]));
        assert_eq!(answer.body["version"], 1);
    }
    assert_eq!(wire.head().await, 1);
}

#[tokio::test]
async fn roles_are_a_set_that_takes_the_place_of_the_last() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;
    let steps = [
        (json!(["b", "a", "b"]), 1, json!(["a", "b"])),
        (json!(["a", "b"]), 0, json!(["a", "b"])),
        (json!(["c"]), 1, json!(["c"])),
        (json!([]), 1, json!([])),
        (json!([]), 0, json!([])),
    ];
    for (ids, events, read) in steps {
        let answer = wire
            .command("User/u1", "assign-roles", &json!({"role_ids": ids}))
            .await;

        assert_eq!(
            answer.is(200).event_types(),
            vec!["UserRolesAssignedEvent"; events]
        );
        assert_eq!(wire.state("User/u1").await["role_ids"], read);
    }
}

#[tokio::test]
async fn a_changed_password_is_another_hash() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.create_user("u1").await;

        let changed = wire
            .command("User/u1", "change-password", &json!({"password": "new"}))
            .await;

        assert_eq!(changed.is(200).event_types(), ["UserPasswordChangedEvent"]);
        let query = "select event_data ->> 'password_hash' from domain_events order by position";
        let hashes = wire.database().await.texts(query).await;
        assert_eq!(hashes.len(), 2);
        assert!(
            hashes
                .iter()
                .all(|hash| hash.contains("$argon2id$v=19$m=8,t=1,p=1$"))
        );
        assert_ne!(hashes[0], hashes[1]);
    }
}

#[tokio::test]
async fn a_deleted_user_stays_readable_and_rejects_every_command() {
    for backend in backends().await {
        let mut wire = Wire::start(&backend).await;
        wire.create_user("u1").await;
        let deleted = wire.command("User/u1", "delete", &json!({})).await;
        assert_eq!(deleted.is(200).event_types(), ["UserDeletedEvent"]);
        for restarted in [false, true] {
            if restarted {
                wire.server.kill9();
                wire = Wire::start(&backend).await;
            }
            let commands = [
                ("create", user("b")),
                ("update", json!({"nick_name": "N"})),
                ("update", json!({})),
                ("change-password", json!({"password": "new"})),
                ("assign-roles", json!({"role_ids": []})),
                ("delete", json!({})),
            ];
            for (command, body) in commands {
                let answer = wire.command("User/u1", command, &body).await;
                answer.problem(422, "command-rejected");
                assert_eq!(answer.body["reason"], "user-deleted", "{command}");
            }
            let state = wire.state("User/u1").await;
            assert_eq!(
                (&state["deleted"], &state["username"]),
                (&json!(true), &json!("u1"))
            );
        }
        assert_eq!(wire.head().await, 2);
    }
}

#[tokio::test]
async fn a_user_that_was_never_created_rejects_every_other_command() {
    let wire = Wire::sqlite(&[]).await;
    let commands = [
        ("update", json!({"nick_name": "N"})),
        ("change-password", json!({"password": "new"})),
        ("assign-roles", json!({"role_ids": []})),
        ("delete", json!({})),
    ];
    for (command, body) in commands {
        let answer = wire.command("User/u1", command, &body).await;
        answer.problem(422, "command-rejected");
        assert_eq!(answer.body["reason"], "user-not-found");
    }
    wire.get("/v1/aggregates/User/u1")
        .await
        .problem(404, "aggregate-not-found");
}

#[tokio::test]
async fn what_a_user_gives_up_is_free_for_another() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        wire.command("User/u1", "create", &full("a")).await.is(201);
        wire.command("User/u2", "create", &user("b")).await.is(201);
        let email = json!({"email": "A@example.ORG"});
        let phone = json!({"phone_number": "+49 30 1"});

        wire.command("User/u2", "update", &email)
            .await
            .problem(409, "claim-taken");
        wire.command("User/u1", "update", &json!({"email": null}))
            .await
            .is(200);
        wire.command("User/u2", "update", &email).await.is(200);
        wire.command("User/u2", "update", &phone)
            .await
            .problem(409, "claim-taken");
        wire.command("User/u3", "create", &user("a"))
            .await
            .problem(409, "claim-taken");
        wire.command("User/u1", "delete", &json!({})).await.is(200);
        wire.command("User/u2", "update", &phone).await.is(200);
        wire.command("User/u3", "create", &user("a")).await.is(201);

        // Its own values are no hindrance: only the spelling changes here.
        wire.command("User/u2", "update", &json!({"email": "a@EXAMPLE.org"}))
            .await
            .is(200);
        // Roles and users have claims of their own, and the case of a username counts.
        wire.command("User/u4", "create", &user("A")).await.is(201);
    }
}

#[tokio::test]
async fn of_users_that_want_one_name_at_once_one_gets_it() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let body = user("wanted");
        let names: Vec<String> = (0..12).map(|number| format!("User/u{number}")).collect();

        let creates = names.iter().map(|name| wire.command(name, "create", &body));
        let answers = futures_util::future::join_all(creates).await;

        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert_eq!(won.len(), 1);
        for answer in lost {
            answer.problem(409, "claim-taken");
        }
        assert_eq!(wire.head().await, 1);
    }
}

//! The reference domain keeps the contract of aggregates, as it is registered.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{domain::Secret, iam::PasswordSettings, testing::AggregateContract};

fn command<C: DeserializeOwned>(body: Value) -> C {
    serde_json::from_value(body).unwrap()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[test]
fn a_user_keeps_the_contract_of_aggregates() {
    let hasher = PasswordHasher::new(PasswordSettings::default()).unwrap();
    let created: CreateUser = command(json!({
        "username": "ann", "password": "x", "domain": "home", "nick_name": "Ann",
        "email": "ann@example.org"
    }));
    let registered = RegisterUser {
        username: created.username,
        password_hash: secret("7361"),
        domain: created.domain,
        nick_name: created.nick_name,
        email: created.email,
        phone_number: created.phone_number,
        avatar: created.avatar,
    };

    AggregateContract::<User>::new(move |user| users(user, &hasher))
        .send(command::<UpdateUser>(json!({"nick_name": "too early"})))
        .send(registered.clone())
        .send(registered)
        .send(command::<UpdateUser>(
            json!({"email": null, "phone_number": "+4930123456"}),
        ))
        .send(command::<UpdateUser>(json!({"nick_name": "Ann"})))
        .send(ReplacePassword {
            password_hash: secret("6f74"),
        })
        .send(command::<AssignRoles>(json!({"role_ids": ["r-1", "r-2"]})))
        .send(command::<UpdateUser>(
            json!({"status": "BANNED", "email": "ann@example.net"}),
        ))
        .send(command::<DeleteUser>(json!({})))
        .send(command::<UpdateUser>(json!({"nick_name": "too late"})))
        .check();
}

#[test]
fn a_role_keeps_the_contract_of_aggregates() {
    let permissions = json!({"permissions": [
        {"resource": "users", "action": "read"}, {"resource": "users", "action": "write"}
    ]});

    AggregateContract::<Role>::new(roles)
        .send(command::<DeleteRole>(json!({})))
        .send(command::<CreateRole>(
            json!({"code": "admin", "name": "Administrator"}),
        ))
        .send(command::<CreateRole>(
            json!({"code": "other", "name": "Another"}),
        ))
        .send(command::<AssignPermissions>(permissions.clone()))
        .send(command::<AssignPermissions>(permissions))
        .send(command::<UpdateRole>(
            json!({"description": "may do all", "status": "DISABLED"}),
        ))
        .send(command::<UpdateRole>(json!({"description": null})))
        .send(command::<DeleteRole>(json!({})))
        .send(command::<CreateRole>(
            json!({"code": "admin", "name": "Again"}),
        ))
        .check();
}

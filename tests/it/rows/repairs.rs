//! A row that stands in the place of another: `repair` tells the log what a running node would.

use std::sync::Arc;

use dormouse::{
    adoption::{Adoption, Repair, RepairFrom, Repaired},
    domain::Aggregate,
    iam::{self, Role, User},
    settings::Mode,
};
use serde_json::json;

use super::{
    place::{Kind, Place},
    roles::{Node, ROLE, USER, insert, permissions, place, remove},
};
use crate::support::counter::id;

/// Two rows of one id that were not made at the same time.
const FIRST: (&str, &str) = ("created_at", "2024-01-01 00:00:00");
const SECOND: (&str, &str) = ("created_at", "2024-02-02 00:00:00");

/// Who tells the log.
#[derive(Debug, Clone, Copy)]
enum Teller {
    Repair,
    Node,
}

/// Lets the log be told that its row is another; with the types of all events then.
async fn told<A: Aggregate>(place: &Place, teller: Teller) -> Vec<String> {
    match teller {
        Teller::Repair => {
            let builder = Adoption::builder(Arc::clone(&place.store));
            let adoption = iam::adoption(builder).build().unwrap();
            let examined = adoption.examine(A::TYPE, id("a")).await.unwrap();
            let repair = Repair {
                from: RepairFrom::Row,
                reason: "a test".to_owned(),
                created_by: None,
            };
            let repaired = adoption.repair(examined, &repair).await.unwrap();
            assert!(matches!(repaired, Repaired::EventAppended { .. }));
            let examined = adoption.examine(A::TYPE, id("a")).await.unwrap();
            assert!(examined.finding().is_none());
        }
        Teller::Node => {
            let node = Node::<A>::start(place, Mode::DualWrite).await;
            node.state().await;
            node.stop().await;
        }
    }
    let node = Node::<A>::start(place, Mode::EventSourced).await;
    let types = node.event_types().await;
    node.stop().await;
    types
}

async fn a_role_that_was_made_anew_is_told_in_two_events(kind: Kind) {
    for teller in [Teller::Repair, Teller::Node] {
        for is_unseen in [true, false] {
            let place = place(kind).await;
            insert(&place, "sys_role", &[&ROLE[..], &[FIRST]].concat()).await;
            let node = Node::<Role>::start(&place, Mode::DualWrite).await;
            node.send::<iam::AssignPermissions>(json!({
                "permissions": [{ "resource": "*", "action": "*" }],
            }))
            .await;
            node.stop().await;
            if is_unseen {
                remove(&place, "sys_role").await;
            } else {
                let node = Node::<Role>::start(&place, Mode::StateOnly).await;
                node.send::<iam::DeleteRole>(json!({})).await;
                node.stop().await;
            }
            let other = [("name", "Another"), SECOND];
            insert(
                &place,
                "sys_role",
                &[&other, &ROLE[..1], &ROLE[2..]].concat(),
            )
            .await;

            let types = told::<Role>(&place, teller).await;

            let expected = [
                "RoleAdoptedEvent",
                "RolePermissionsAssignedEvent",
                "RoleReconciledEvent",
                "RoleReconciledEvent",
            ];
            assert_eq!(types, expected, "{teller:?}, unseen: {is_unseen}");
            let node = Node::<Role>::start(&place, Mode::EventSourced).await;
            assert_eq!(permissions(&node).await, []);
            node.stop().await;
        }
    }
}

async fn a_user_that_was_made_anew_is_told_in_one_event(kind: Kind) {
    for teller in [Teller::Repair, Teller::Node] {
        let place = place(kind).await;
        insert(&place, "sys_user", &[&USER[..], &[FIRST]].concat()).await;
        let node = Node::<User>::start(&place, Mode::DualWrite).await;
        node.send::<iam::UpdateUser>(json!({ "nick_name": "Anna" }))
            .await;
        node.stop().await;
        remove(&place, "sys_user").await;
        insert(&place, "sys_user", &[&USER[..], &[SECOND]].concat()).await;

        let types = told::<User>(&place, teller).await;

        // Its row tells all of it: nothing of the life before could be kept.
        let expected = [
            "UserAdoptedEvent",
            "UserUpdatedEvent",
            "UserReconciledEvent",
        ];
        assert_eq!(types, expected, "{teller:?}");
    }
}

super::place::on_every_store!(
    a_role_that_was_made_anew_is_told_in_two_events,
    a_user_that_was_made_anew_is_told_in_one_event,
);

//! A row and its events are made to agree, from either side, and history stays.

use dormouse::{
    adoption::{AdoptionError, Repair, RepairFrom, Repaired},
    domain::{AggregateId, Claim, CreatedBy, Version},
    iam::UserEvent,
    store::EventStore as _,
};

use super::{Before, renamed, stream, text, user};

fn from(from: RepairFrom) -> Repair {
    Repair {
        from,
        reason: "mended by hand".to_owned(),
        created_by: Some(CreatedBy::parse("ada").unwrap()),
    }
}

async fn repair(before: &Before, id: &str, side: RepairFrom) -> Result<Repaired, AdoptionError> {
    let id = AggregateId::parse(id).unwrap();
    let examined = before.adoption.examine("User", id).await?;
    before.adoption.repair(examined, &from(side)).await
}

async fn agrees(before: &Before, id: &str) -> bool {
    let id = AggregateId::parse(id).unwrap();
    let examined = before.adoption.examine("User", id).await.unwrap();
    examined.finding().is_none()
}

#[tokio::test]
async fn from_the_events_the_row_is_written_anew_and_the_log_stays() {
    let before = Before::with_users(&["1"]);
    before.adopt().await;
    before.append("1", &[renamed("New")]).await;
    before.set("1", "status", "BANNED");

    let repaired = repair(&before, "1", RepairFrom::Events).await.unwrap();

    assert_eq!(repaired, Repaired::RowWritten);
    let row = before.row("1").unwrap();
    assert_eq!(row.values["nick_name"], text("New"));
    assert_eq!(row.values["status"], text("ENABLED"));
    assert_eq!(row.values["updated_by"], text("ada"));
    assert_eq!(before.events("1").await.len(), 2);
    assert!(agrees(&before, "1").await);
}

#[tokio::test]
async fn from_the_row_an_event_tells_the_log_why_and_who_and_the_row_stays() {
    let before = Before::with_users(&["1"]);
    before.adopt().await;
    before.set("1", "email", "new@example.org");
    let row = before.row("1").unwrap();

    let repaired = repair(&before, "1", RepairFrom::Row).await.unwrap();

    assert_eq!(
        repaired,
        Repaired::EventAppended {
            event_type: "UserReconciledEvent",
            version: Version::new(2)
        }
    );
    let events = before.events("1").await;
    assert_eq!(events[1].created_by.as_ref().unwrap().as_str(), "ada");
    let data = events[1].data.get();
    assert!(
        data.starts_with(r#"{"reason":"mended by hand","state":{"#),
        "{data}"
    );
    assert_eq!(before.row("1").unwrap(), row);
    assert!(agrees(&before, "1").await);
    // The unique values are those of the row now.
    for (email, holder) in [("1@example.org", None), ("new@example.org", Some("1"))] {
        let claim = Claim::new("email", email);
        let aggregate_type = stream("1").aggregate_type;
        let held = before.store.claim_holder(&aggregate_type, &claim).await;
        let held = held.unwrap();
        assert_eq!(held.as_ref().map(AggregateId::as_str), holder, "{email}");
    }
}

#[tokio::test]
async fn a_row_that_is_gone_is_written_again_or_ends_the_user() {
    let before = Before::with_users(&["1", "2"]);
    before.adopt().await;
    before.delete("1");
    before.delete("2");

    let written = repair(&before, "1", RepairFrom::Events).await.unwrap();
    let ended = repair(&before, "2", RepairFrom::Row).await.unwrap();

    assert_eq!(written, Repaired::RowWritten);
    assert_eq!(before.row("1").unwrap().values["username"], text("User1"));
    assert!(matches!(ended, Repaired::EventAppended { .. }));
    assert!(agrees(&before, "1").await && agrees(&before, "2").await);
}

#[tokio::test]
async fn a_row_that_the_events_have_ended_is_deleted_or_comes_back() {
    let before = Before::with_users(&["1", "2"]);
    before.adopt().await;
    before.append("1", &[UserEvent::Deleted]).await;
    before.append("2", &[UserEvent::Deleted]).await;

    repair(&before, "1", RepairFrom::Events).await.unwrap();
    repair(&before, "2", RepairFrom::Row).await.unwrap();

    assert_eq!(before.row("1"), None);
    assert_eq!(before.row("2").unwrap(), user("2"));
    assert!(agrees(&before, "1").await && agrees(&before, "2").await);
}

#[tokio::test]
async fn a_row_without_events_is_adopted_from_itself_and_never_deleted() {
    let before = Before::with_users(&["1"]);

    let refused = repair(&before, "1", RepairFrom::Events).await;
    let adopted = repair(&before, "1", RepairFrom::Row).await.unwrap();

    assert!(
        matches!(refused, Err(AdoptionError::NoEvents(_))),
        "{refused:?}"
    );
    assert_eq!(
        adopted,
        Repaired::EventAppended {
            event_type: "UserAdoptedEvent",
            version: Version::new(1)
        }
    );
    assert_eq!(before.row("1").unwrap(), user("1"));
}

#[tokio::test]
async fn what_agrees_is_left_alone_and_what_is_not_there_is_said() {
    let before = Before::with_users(&["1"]);
    before.adopt().await;

    let agreed = repair(&before, "1", RepairFrom::Row).await.unwrap();
    let nothing = repair(&before, "2", RepairFrom::Row).await.unwrap_err();

    assert_eq!(agreed, Repaired::Agreed);
    assert_eq!(
        nothing.to_string(),
        "there are neither a row nor events of 2"
    );
    assert_eq!(before.events("1").await.len(), 1);
}

#[tokio::test]
async fn what_was_changed_after_it_was_examined_is_not_repaired() {
    for side in [RepairFrom::Events, RepairFrom::Row] {
        for changes_row in [true, false] {
            let before = Before::with_users(&["1"]);
            before.adopt().await;
            before.set("1", "nick_name", "by hand");
            let id = AggregateId::parse("1").unwrap();
            let examined = before.adoption.examine("User", id).await.unwrap();
            if changes_row {
                before.set("1", "nick_name", "by another hand");
            } else {
                before.append("1", &[renamed("by a command")]).await;
            }
            let (row, events) = (before.row("1"), before.events("1").await.len());

            let repaired = before.adoption.repair(examined, &from(side)).await;

            assert!(
                matches!(repaired, Err(AdoptionError::Changed)),
                "{side:?} {repaired:?}"
            );
            assert_eq!(
                (before.row("1"), before.events("1").await.len()),
                (row, events)
            );
        }
    }
}

#[tokio::test]
async fn a_row_with_the_name_of_another_is_not_believed() {
    let before = Before::with_users(&["1", "2"]);
    before.adopt().await;
    before.set("2", "username", "User1");

    let error = repair(&before, "2", RepairFrom::Row).await.unwrap_err();

    assert_eq!(error.to_string(), "its `username` is also that of 1");
    assert_eq!(before.events("2").await.len(), 1);
}

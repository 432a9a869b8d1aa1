//! What verification finds, and what it names.

use dormouse::{
    adoption::{Cursor, Drift, Finding, Verified, VerifyOptions, VerifyProgress},
    iam::UserEvent,
    store::EventStore as _,
};

use super::{Before, renamed, user};

async fn verify_with(before: &Before, options: VerifyOptions) -> (Verified, Vec<Finding>) {
    let mut findings = Vec::new();
    let verified = before.adoption.verify("User", options, |progress| {
        if let VerifyProgress::Finding(finding) = progress {
            findings.push(finding);
        }
    });
    let verified = verified.await.unwrap();
    findings.sort_by(|one, other| one.key.cmp(&other.key));
    (verified, findings)
}

async fn verify(before: &Before) -> (Verified, Vec<Finding>) {
    verify_with(before, VerifyOptions::default()).await
}

#[tokio::test]
async fn rows_that_were_just_adopted_agree() {
    let before = Before::with_users(&["1", "2", "3"]);
    before.adopt().await;

    let (verified, findings) = verify(&before).await;

    assert_eq!((verified.compared, verified.drifted), (3, 0));
    assert_eq!(findings, []);
}

#[tokio::test]
async fn the_first_column_that_differs_is_told_with_the_event_that_should_have_set_it() {
    let before = Before::with_users(&["1"]);
    before.adopt().await;
    before
        .append("1", &[renamed("New"), renamed("Newer")])
        .await;
    before.set("1", "status", "BANNED");

    let (verified, findings) = verify(&before).await;

    assert_eq!((verified.compared, verified.drifted), (1, 1));
    assert_eq!(
        (findings[0].key.as_str(), findings[0].version.get()),
        ("1", 3)
    );
    let Drift::Differs { first, others } = &findings[0].drift else {
        panic!("{findings:?}");
    };
    assert_eq!(
        (first.column, others.as_slice()),
        ("nick_name", &["status"][..])
    );
    assert_eq!(first.row.as_deref(), Some("\"Nick\""));
    assert_eq!(first.events.as_deref(), Some("\"Newer\""));
    let event = first.event.as_ref().unwrap();
    assert_eq!(
        (event.event_type.as_str(), event.version.get()),
        ("UserUpdatedEvent", 3)
    );
}

#[tokio::test]
async fn a_secret_that_differs_is_told_and_not_shown() {
    let before = Before::with_users(&["1"]);
    before.adopt().await;
    before.store.with_state_table("sys_user", |table| {
        let other = dormouse::domain::Secret::new("$2b$7361".to_owned());
        let other = dormouse::domain::RowValue::Secret(other);
        table
            .rows
            .get_mut("1")
            .unwrap()
            .values
            .insert("password".into(), other);
    });

    let (_, findings) = verify(&before).await;

    let told = serde_json::to_string(&findings).unwrap() + &format!("{findings:?}");
    assert!(
        told.contains(r#""drift":"differs""#) && told.contains("(hidden)"),
        "{told}"
    );
    assert!(!told.contains("$2"), "{told}");
}

#[tokio::test]
async fn roles_count_as_a_set_and_differ_as_one() {
    let before = Before::with_users(&["1"]);
    before.adopt().await;
    before.store.with_state_table("sys_user", |table| {
        let links = &mut table.rows.get_mut("1").unwrap().links;
        links.get_mut("sys_user_role").unwrap().insert("2".into());
    });

    let (_, findings) = verify(&before).await;

    let Drift::Differs { first, .. } = &findings[0].drift else {
        panic!("{findings:?}");
    };
    assert_eq!(first.column, "sys_user_role");
    assert_eq!(first.row.as_deref(), Some("{1, 2}"));
}

#[tokio::test]
async fn rows_that_are_missing_left_or_without_events_are_told_apart() {
    let before = Before::with_users(&["deleted", "gone", "left"]);
    before.adopt().await;
    before.append("deleted", &[UserEvent::Deleted]).await;
    before.delete("deleted");
    before.delete("gone");
    before.append("left", &[UserEvent::Deleted]).await;
    before.write("new", user("new"));
    before.write("new odd", user("new odd"));

    let (verified, findings) = verify(&before).await;

    let told: Vec<(&str, &str)> = findings
        .iter()
        .map(|finding| (finding.key.as_str(), finding.drift.name()))
        .collect();
    assert_eq!(
        told,
        [
            ("gone", "row-missing"),
            ("left", "row-left"),
            ("new", "no-events"),
            ("new odd", "not-adoptable")
        ]
    );
    assert_eq!((verified.compared, verified.drifted), (5, 4));
    let Drift::RowLeft { event: Some(event) } = &findings[1].drift else {
        panic!("{findings:?}");
    };
    assert_eq!(
        (event.event_type.as_str(), event.version.get()),
        ("UserDeletedEvent", 2)
    );
}

#[tokio::test]
async fn a_history_of_any_length_is_folded_whole() {
    for length in [31, 32, 33, 2500] {
        let before = Before::with_users(&["1"]);
        before.adopt().await;
        let events: Vec<_> = (1..length).map(|n| renamed(&n.to_string())).collect();
        before.append("1", &events).await;
        let last = (length - 1).to_string();

        let behind = verify(&before).await.0.drifted;
        before.set("1", "nick_name", &last);
        let level = verify(&before).await.0.drifted;

        assert_eq!((behind, level), (1, 0), "{length} events");
    }
}

#[tokio::test]
async fn events_that_cannot_be_folded_are_told_and_the_others_go_on() {
    let before = Before::with_users(&["1", "2"]);
    before.adopt().await;
    before.append_unknown("1").await;
    before.set("2", "nick_name", "x");

    let (_, findings) = verify(&before).await;

    assert_eq!(findings.len(), 2);
    let Drift::Unfoldable { problem } = &findings[0].drift else {
        panic!("{findings:?}");
    };
    assert!(problem.contains("`NoSuchEvent` is unknown"), "{problem}");
}

#[tokio::test]
async fn a_sample_has_the_size_asked_for_and_finds_what_it_draws() {
    let ids: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let before = Before::with_users(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let sample = |sample| VerifyOptions {
        page: 7,
        sample: Some(sample),
        parallel: 3,
        ..VerifyOptions::default()
    };

    let some = verify_with(&before, sample(20)).await;
    let all = verify_with(&before, sample(1000)).await;

    assert_eq!((some.0.compared, some.1.len()), (20, 20));
    assert_eq!((all.0.compared, all.1.len()), (200, 200));
    assert_eq!(before.store.last_position().await.unwrap().get(), 0);
}

#[tokio::test]
async fn a_sample_of_adopted_rows_has_the_size_asked_for_too() {
    let ids: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    let before = Before::with_users(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    before.adopt().await;
    let sample = |sample| VerifyOptions {
        page: 7,
        sample: Some(sample),
        ..VerifyOptions::default()
    };

    let all_have_rows = verify_with(&before, sample(20)).await;
    for id in &ids[..40] {
        before.delete(id);
    }
    let few_have_rows = verify_with(&before, sample(50)).await;

    assert_eq!((all_have_rows.0.compared, all_have_rows.1.len()), (20, 0));
    assert_eq!(few_have_rows.0.compared, 50);
    // The rows that are left agree.
    let missing = few_have_rows.1.iter();
    assert!(missing.len() >= 30, "{:?}", few_have_rows.0);
    for finding in missing {
        assert!(matches!(finding.drift, Drift::RowMissing { .. }));
    }
}

#[tokio::test]
async fn a_run_may_stop_after_some_pages_and_go_on_where_it_stopped() {
    let before = Before::with_users(&["1", "2", "3"]);
    let page = |from: Option<Cursor>| VerifyOptions {
        page: 2,
        pages: Some(1),
        from: from.unwrap_or(Cursor::START),
        ..VerifyOptions::default()
    };

    let (first, found_first) = verify_with(&before, page(None)).await;
    let (second, found_second) = verify_with(&before, page(first.stopped_at.clone())).await;
    let (third, found_third) = verify_with(&before, page(second.stopped_at.clone())).await;

    assert_eq!(first.stopped_at, Some(Cursor::Rows(Some("2".to_owned()))));
    assert_eq!(
        (found_first.len(), found_second.len(), found_third.len()),
        (2, 1, 0)
    );
    assert_eq!((second.compared, third.stopped_at), (1, None));
}

#[tokio::test]
async fn a_missing_row_is_found_whatever_else_there_is() {
    // As many rows as aggregates, and still one of these has none.
    let before = Before::with_users(&["1", "2"]);
    before.adopt().await;
    before.delete("1");
    before.write("3", user("3"));
    let sample = VerifyOptions {
        sample: Some(100),
        ..VerifyOptions::default()
    };

    let (verified, findings) = verify(&before).await;
    let (sampled, _) = verify_with(&before, sample).await;

    let keys: Vec<&str> = findings
        .iter()
        .map(|finding| finding.key.as_str())
        .collect();
    assert_eq!(keys, ["1", "3"]);
    assert_eq!((verified.compared, verified.drifted), (3, 2));
    assert_eq!((sampled.compared, sampled.drifted), (3, 2));
}

//! The rules of a case, given, when and then.

use chrono::{DateTime, Utc};
use dormouse::{
    domain::{
        Aggregate as _, AggregateId, CommandContext, CorrelationId, CreatedBy, Handle, Version,
    },
    testing::AggregateContract,
};

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_286_000_000 + second, 0).unwrap()
}

fn received(second: i64) -> PermitEvent {
    PermitEvent::ApplicationReceived {
        resource: "Resource26".to_owned(),
        group: "Group 1".to_owned(),
        department: "General".to_owned(),
        channel: "Internet".to_owned(),
        at: at(second),
    }
}

fn taken(activity: Activity, second: i64) -> PermitEvent {
    PermitEvent::StepTaken {
        activity,
        resource: "Resource01".to_owned(),
        group: "Group 4".to_owned(),
        department: "General".to_owned(),
        at: at(second),
    }
}

fn step(activity: Activity, second: i64) -> TakeStep {
    TakeStep {
        activity,
        group: "Group 4".to_owned(),
        department: "General".to_owned(),
        at: at(second),
    }
}

fn given(events: &[PermitEvent]) -> PermitCase {
    let mut case = PermitCase::default();
    for event in events {
        case.apply(event);
    }
    case
}

fn when<C>(
    case: &PermitCase,
    command: &C,
    created_by: Option<&str>,
) -> Result<Vec<PermitEvent>, Refused>
where
    PermitCase: Handle<C, Reply = ()>,
{
    let created_by = created_by.map(|name| CreatedBy::parse(name).unwrap());
    let ctx = CommandContext {
        aggregate_id: &AggregateId::parse("case-1").unwrap(),
        version: Version::ZERO,
        now: at(0),
        created_by: created_by.as_ref(),
        correlation_id: CorrelationId(ulid::Ulid::nil()),
    };
    Ok(case.handle(command, &ctx)?.into_parts().0)
}

fn then_refused(events: &[PermitEvent], command: &TakeStep) -> Refused {
    when(&given(events), command, Some("Resource01")).unwrap_err()
}

#[test]
fn a_case_begins_with_its_application() {
    let refused = then_refused(&[], &step(Activity::CheckConfirmation, 1));
    assert_eq!(refused, Refused::NotReceived);

    let receive = ReceiveApplication {
        group: "Group 1".to_owned(),
        department: "General".to_owned(),
        channel: "Internet".to_owned(),
        at: at(0),
    };
    let events = when(&given(&[]), &receive, Some("Resource26"));
    assert_eq!(events, Ok(vec![received(0)]));

    let again = when(&given(&[received(0)]), &receive, Some("Resource26"));
    assert_eq!(again, Err(Refused::ReceivedAlready));
}

#[test]
fn a_step_is_stored_with_who_took_it() {
    let case = given(&[received(0)]);
    let command = step(Activity::CheckConfirmation, 1);

    let events = when(&case, &command, Some("Resource01"));
    let anonymous = when(&case, &command, None);

    assert_eq!(events, Ok(vec![taken(Activity::CheckConfirmation, 1)]));
    assert_eq!(anonymous, Err(Refused::Anonymous));
}

#[test]
fn a_step_needs_the_one_before_it() {
    let refused = then_refused(&[received(0)], &step(Activity::SendConfirmation, 1));

    assert_eq!(
        refused,
        Refused::OutOfOrder {
            step: Activity::SendConfirmation,
            needs: Activity::CheckConfirmation,
        }
    );
}

#[test]
fn what_is_determined_once_is_not_determined_again() {
    let history = [
        received(0),
        taken(Activity::DetermineStopAdvice, 1),
        taken(Activity::DetermineStopAdvice, 2),
        taken(Activity::DetermineStopIndication, 3),
    ];

    let refused = then_refused(&history, &step(Activity::DetermineStopIndication, 4));

    assert_eq!(
        refused,
        Refused::DoneAlready(Activity::DetermineStopIndication)
    );
}

#[test]
fn a_case_keeps_to_time_and_to_its_department() {
    let earlier = then_refused(&[received(5)], &step(Activity::CheckConfirmation, 4));
    let elsewhere = TakeStep {
        department: "Experts".to_owned(),
        ..step(Activity::CheckConfirmation, 6)
    };

    let other = then_refused(&[received(5)], &elsewhere);

    assert_eq!(earlier, Refused::EarlierThanTheLast);
    assert_eq!(other, Refused::OtherDepartment("General".to_owned()));
}

#[test]
fn a_case_knows_its_phase_its_steps_and_its_hands() {
    let case = given(&[
        received(0),
        taken(Activity::DetermineStopAdvice, 1),
        taken(Activity::CheckConfirmation, 2),
    ]);

    let PermitCase::Received(progress) = case else {
        panic!("it was received");
    };
    assert_eq!(progress.phase, Phase::Advice);
    assert_eq!(progress.done.values().sum::<u32>(), 3);
    assert!(progress.resources.contains("Resource01"));
    assert!(progress.resources.contains("Resource26"));
    assert_eq!(
        (progress.received_at, progress.last_step_at),
        (at(0), at(2))
    );
}

#[test]
fn an_activity_is_written_as_in_the_log() {
    assert_eq!(
        Activity::PrintHold.to_string(),
        "T20 Print report Y to stop indication"
    );
}

#[test]
fn a_case_keeps_the_contract_of_aggregates() {
    let receive = ReceiveApplication {
        group: "Group 1".to_owned(),
        department: "General".to_owned(),
        channel: "Internet".to_owned(),
        at: at(0),
    };
    let script = AggregateContract::<PermitCase>::new(|case| {
        case.command::<ReceiveApplication>("receive-application")
            .command::<TakeStep>("take-step")
    });

    script
        .send(receive.clone())
        .sent_by(CreatedBy::parse("Resource26").unwrap())
        .send(step(Activity::CheckConfirmation, 1))
        .send(receive.clone())
        .send(receive)
        .sent_by(CreatedBy::parse("Resource01").unwrap())
        .send(step(Activity::CheckConfirmation, 1))
        .send(step(Activity::SendConfirmation, 2))
        .send(step(Activity::DetermineStopAdvice, 3))
        .send(step(Activity::DetermineStopIndication, 4))
        .send(step(Activity::DetermineStopIndication, 5))
        .check();
}

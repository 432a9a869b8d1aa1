//! The aggregate: one permit case, whose commands are the steps that people took.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{DateTime, Utc};
use dormouse::domain::{Aggregate, CommandContext, Decision, Event, EventType, Handle, Rejection};
use serde::{Deserialize, Serialize};

use super::activity::{Activity, Phase};

/// A permit case: absent until its application is received.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum PermitCase {
    #[default]
    NotReceived,
    Received(Progress),
}

/// How far a received case has come, and through whose hands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// How often each activity was done.
    pub(crate) done: BTreeMap<Activity, u32>,
    pub(crate) department: String,
    pub(crate) channel: String,
    /// Everybody who took a step.
    pub(crate) resources: BTreeSet<String>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) last_step_at: DateTime<Utc>,
}

/// Takes the first step: the application is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReceiveApplication {
    pub(crate) group: String,
    pub(crate) department: String,
    pub(crate) channel: String,
    /// When it happened, by the file: long before it is stored here.
    pub(crate) at: DateTime<Utc>,
}

/// Takes a later step of a received case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TakeStep {
    pub(crate) activity: Activity,
    pub(crate) group: String,
    pub(crate) department: String,
    pub(crate) at: DateTime<Utc>,
}

/// What happened to a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum PermitEvent {
    #[serde(rename = "ApplicationReceivedEvent")]
    ApplicationReceived {
        resource: String,
        group: String,
        department: String,
        channel: String,
        at: DateTime<Utc>,
    },
    #[serde(rename = "StepTakenEvent")]
    StepTaken {
        activity: Activity,
        resource: String,
        group: String,
        department: String,
        at: DateTime<Utc>,
    },
}

impl Event for PermitEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("ApplicationReceivedEvent", 1),
        EventType::new("StepTakenEvent", 1),
    ];
}

/// Why a step is refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the application has been received already")]
    ReceivedAlready,
    #[error("the application has not been received")]
    NotReceived,
    #[error("nobody says who takes the step")]
    Anonymous,
    #[error("`{step}` needs `{needs}` first")]
    OutOfOrder { step: Activity, needs: Activity },
    #[error("`{0}` is done once only, and has been done")]
    DoneAlready(Activity),
    #[error("the step is earlier than the last one")]
    EarlierThanTheLast,
    #[error("the case belongs to the department {0}")]
    OtherDepartment(String),
}

impl Rejection for Refused {
    fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::ReceivedAlready => "received-already",
            Self::NotReceived => "not-received",
            Self::Anonymous => "anonymous",
            Self::OutOfOrder { .. } => "out-of-order",
            Self::DoneAlready(_) => "done-already",
            Self::EarlierThanTheLast => "earlier-than-the-last",
            Self::OtherDepartment(_) => "other-department",
        }
        .into()
    }
}

impl Aggregate for PermitCase {
    const TYPE: &'static str = "PermitCase";
    type Event = PermitEvent;
    type Error = Refused;

    fn apply(&mut self, event: &PermitEvent) {
        match (event, &mut *self) {
            (
                PermitEvent::ApplicationReceived {
                    resource,
                    department,
                    channel,
                    at,
                    ..
                },
                _,
            ) => {
                *self = Self::Received(Progress {
                    phase: Phase::Receipt,
                    done: BTreeMap::from([(Activity::ConfirmReceipt, 1)]),
                    department: department.clone(),
                    channel: channel.clone(),
                    resources: BTreeSet::from([resource.clone()]),
                    received_at: *at,
                    last_step_at: *at,
                });
            }
            (
                PermitEvent::StepTaken {
                    activity,
                    resource,
                    at,
                    ..
                },
                Self::Received(progress),
            ) => {
                progress.phase = progress.phase.max(activity.phase());
                *progress.done.entry(*activity).or_default() += 1;
                progress.resources.insert(resource.clone());
                progress.last_step_at = *at;
            }
            // No decision leads here: a step is taken of a received case only.
            (PermitEvent::StepTaken { .. }, Self::NotReceived) => {}
        }
    }
}

impl Handle<ReceiveApplication> for PermitCase {
    type Reply = ();

    fn handle(
        &self,
        command: &ReceiveApplication,
        ctx: &CommandContext<'_>,
    ) -> Result<Decision<Self>, Refused> {
        if matches!(self, Self::Received(_)) {
            return Err(Refused::ReceivedAlready);
        }
        Ok(Decision::persist([PermitEvent::ApplicationReceived {
            resource: sender(ctx)?,
            group: command.group.clone(),
            department: command.department.clone(),
            channel: command.channel.clone(),
            at: command.at,
        }]))
    }
}

impl Handle<TakeStep> for PermitCase {
    type Reply = ();

    fn handle(
        &self,
        command: &TakeStep,
        ctx: &CommandContext<'_>,
    ) -> Result<Decision<Self>, Refused> {
        let Self::Received(progress) = self else {
            return Err(Refused::NotReceived);
        };
        progress.check(command)?;
        Ok(Decision::persist([PermitEvent::StepTaken {
            activity: command.activity,
            resource: sender(ctx)?,
            group: command.group.clone(),
            department: command.department.clone(),
            at: command.at,
        }]))
    }
}

impl Progress {
    fn check(&self, step: &TakeStep) -> Result<(), Refused> {
        let activity = step.activity;
        if let Some(needs) = activity.needs()
            && !self.done.contains_key(&needs)
        {
            return Err(Refused::OutOfOrder {
                step: activity,
                needs,
            });
        }
        if activity.is_done_once() && self.done.contains_key(&activity) {
            return Err(Refused::DoneAlready(activity));
        }
        if step.at < self.last_step_at {
            return Err(Refused::EarlierThanTheLast);
        }
        if step.department != self.department {
            return Err(Refused::OtherDepartment(self.department.clone()));
        }
        Ok(())
    }
}

fn sender(ctx: &CommandContext<'_>) -> Result<String, Refused> {
    let created_by = ctx.created_by.ok_or(Refused::Anonymous)?;
    Ok(created_by.as_str().to_owned())
}

#[cfg(test)]
#[path = "case_tests.rs"]
mod tests;

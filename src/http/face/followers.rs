//! How far those that follow the log are behind it: projections, subscriptions, open streams.

use std::time::Duration;

use actix_web::{HttpRequest, web::Data};

use crate::{
    http::{EventStreams, ReadModels},
    metrics::{Exposition, Family, Kind, count_of},
    projection::{ProjectionState, ProjectionStatus, SubscriptionsSnapshot},
};

/// How long the database may take to tell where the projections are: `/metrics` is read when
/// something is wrong, and must answer then.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

const PROJECTION: &[&str] = &["projection", "generation"];

const TOLD: Family = Family {
    name: "dormouse_projections_told",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 where the database told where the projections are, 0 where it did not in time.",
};
const LAG: Family = Family {
    name: "dormouse_projection_lag_positions",
    kind: Kind::Gauge,
    labels: PROJECTION,
    help: "Positions of the log that the projection has not looked at.",
};
const LAG_SECONDS: Family = Family {
    name: "dormouse_projection_lag_seconds",
    kind: Kind::Gauge,
    labels: PROJECTION,
    help: "The age of the oldest event that the projection has not looked at; 0 where there is none.",
};
const POSITION: Family = Family {
    name: "dormouse_projection_position",
    kind: Kind::Gauge,
    labels: PROJECTION,
    help: "The last position that the projection has applied or parked.",
};
const PARKED: Family = Family {
    name: "dormouse_projection_parked_events",
    kind: Kind::Gauge,
    labels: PROJECTION,
    help: "Events that the projection could not apply and has put aside.",
};
const STATE: Family = Family {
    name: "dormouse_projection_state",
    kind: Kind::Gauge,
    labels: &["projection", "generation", "state"],
    help: "1 for the state the projection is in: building, running, stopped or replaced.",
};
const STREAMS: Family = Family {
    name: "dormouse_streams_open",
    kind: Kind::Gauge,
    labels: &[],
    help: "Open streams of server-sent events.",
};
const SUBSCRIPTIONS: Family = Family {
    name: "dormouse_subscriptions",
    kind: Kind::Gauge,
    labels: &[],
    help: "Subscriptions that follow the log in this process.",
};
const SUBSCRIPTION_LAG: Family = Family {
    name: "dormouse_subscription_lag_positions",
    kind: Kind::Gauge,
    labels: &[],
    help: "Positions between the log's end and the subscription that is furthest behind.",
};
const TAIL_EVENTS: Family = Family {
    name: "dormouse_subscription_tail_events",
    kind: Kind::Gauge,
    labels: &[],
    help: "Events that are held in memory for all subscriptions.",
};
const TAIL_BYTES: Family = Family {
    name: "dormouse_subscription_tail_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "About the bytes of the events that are held in memory for all subscriptions.",
};

/// What the app has of them.
pub(super) async fn collect(request: &HttpRequest, exposition: &mut Exposition) {
    if let Some(models) = request.app_data::<Data<ReadModels>>() {
        let told = tokio::time::timeout(STATUS_TIMEOUT, models.projections().status()).await;
        let told = told.map_err(|_| "the database does not answer".to_owned());
        let told = told.and_then(|told| told.map_err(|error| error.to_string()));
        match told {
            Ok(statuses) => collect_projections(Some(&statuses), exposition),
            Err(reason) => {
                tracing::debug!(reason, "the metrics lack the projections");
                collect_projections(None, exposition);
            }
        }
    }
    if let Some(streams) = request.app_data::<Data<EventStreams>>() {
        let open = count_of(streams.open());
        exposition.family(&STREAMS).sample(&[], open);
        collect_subscriptions(&streams.subscriptions().snapshot(), exposition);
    }
}

fn collect_projections(statuses: Option<&[ProjectionStatus]>, exposition: &mut Exposition) {
    let told = u64::from(statuses.is_some());
    exposition.family(&TOLD).sample(&[], told);
    let statuses = statuses.unwrap_or_default();
    let mut family = |family, value: &dyn Fn(&ProjectionStatus) -> f64| {
        let mut samples = exposition.family(family);
        for status in statuses {
            let generation = status.generation.to_string();
            samples.fraction(&[&status.name, &generation], value(status));
        }
    };
    family(&LAG, &|status| shown(status.lag()));
    family(&LAG_SECONDS, &|status| status.lag_seconds);
    family(&POSITION, &|status| shown(status.position.get()));
    family(&PARKED, &|status| shown(status.parked));
    let words = [
        ProjectionState::Building.word(),
        ProjectionState::Running.word(),
        "stopped",
        ProjectionState::Replaced.word(),
    ];
    let mut samples = exposition.family(&STATE);
    for status in statuses {
        let generation = status.generation.to_string();
        for word in words {
            let is_in_it = u64::from(status.state.word() == word);
            samples.sample(&[&status.name, &generation, word], is_in_it);
        }
    }
}

fn collect_subscriptions(snapshot: &SubscriptionsSnapshot, exposition: &mut Exposition) {
    let lag = snapshot.subscriptions.iter().map(|one| one.lag).max();
    let mut gauge = |family, value| exposition.family(family).sample(&[], value);
    gauge(&SUBSCRIPTIONS, count_of(snapshot.subscriptions.len()));
    gauge(&SUBSCRIPTION_LAG, lag.unwrap_or(0));
    gauge(&TAIL_EVENTS, count_of(snapshot.tail_events));
    gauge(&TAIL_BYTES, count_of(snapshot.tail_bytes));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "past 2^53 positions they are shown rounded"
)]
fn shown(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Position, projection::SubscriptionSnapshot};

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    #[test]
    fn a_projection_is_told_with_its_state_and_how_far_it_is_behind() {
        let status = ProjectionStatus {
            name: "directory".to_owned(),
            generation: 2,
            version: 1,
            state: ProjectionState::Building,
            serving: false,
            position: Position::new(7),
            head: Position::new(12),
            lag_seconds: 1.5,
            holder: None,
            parked: 3,
            failing: None,
        };
        let mut exposition = Exposition::default();

        collect_projections(Some(&[status]), &mut exposition);

        let text = exposition.into_text();
        let labels = "projection=\"directory\",generation=\"2\"";
        has(&text, "dormouse_projections_told 1");
        has(
            &text,
            &format!("dormouse_projection_lag_positions{{{labels}}} 5"),
        );
        has(
            &text,
            &format!("dormouse_projection_lag_seconds{{{labels}}} 1.5"),
        );
        has(
            &text,
            &format!("dormouse_projection_position{{{labels}}} 7"),
        );
        has(
            &text,
            &format!("dormouse_projection_parked_events{{{labels}}} 3"),
        );
        has(
            &text,
            &format!("dormouse_projection_state{{{labels},state=\"building\"}} 1"),
        );
        has(
            &text,
            &format!("dormouse_projection_state{{{labels},state=\"running\"}} 0"),
        );
    }

    #[test]
    fn a_database_that_does_not_tell_is_told() {
        let mut exposition = Exposition::default();

        collect_projections(None, &mut exposition);

        has(&exposition.into_text(), "dormouse_projections_told 0");
    }

    #[test]
    fn of_all_subscriptions_the_one_furthest_behind_counts() {
        let at = |id, lag| SubscriptionSnapshot {
            id,
            position: Position::new(1),
            lag,
        };
        let snapshot = SubscriptionsSnapshot {
            head: Some(Position::new(10)),
            tail_events: 4,
            tail_bytes: 400,
            subscriptions: vec![at(1, 2), at(2, 9), at(3, 0)],
        };
        let mut exposition = Exposition::default();

        collect_subscriptions(&snapshot, &mut exposition);

        let text = exposition.into_text();
        has(&text, "dormouse_subscriptions 3");
        has(&text, "dormouse_subscription_lag_positions 9");
        has(&text, "dormouse_subscription_tail_events 4");
        has(&text, "dormouse_subscription_tail_bytes 400");
    }
}

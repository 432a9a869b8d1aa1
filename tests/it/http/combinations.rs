//! The audit's filters in every combination, in both orders, page by page.

use serde_json::{Value, json};

use super::{Wire, role, user};
use crate::support::backends;

const CORRELATION: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const COMMAND: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAW";

/// One filter: how it is asked for, and which events it means.
struct Filter {
    query: String,
    means: Box<dyn Fn(&Value) -> bool>,
}

impl Filter {
    fn equals(member: &'static str, values: &'static [&'static str]) -> Self {
        let pairs = values.iter().map(|value| format!("&{member}={value}"));
        Self {
            query: pairs.collect(),
            means: Box::new(move |event| {
                let found = event[member].as_str();
                found.is_some_and(|found| values.contains(&found))
            }),
        }
    }

    /// Times as the server writes them are in the order of their text.
    fn time(name: &'static str, bound: String, is_from: bool) -> Self {
        Self {
            query: format!("&{name}={bound}"),
            means: Box::new(move |event| {
                let time = event["occurred_at"].as_str().unwrap();
                if is_from {
                    time >= bound.as_str()
                } else {
                    time <= bound.as_str()
                }
            }),
        }
    }
}

/// Sixteen events that differ in whatever can be asked for, so that each filter and most
/// combinations mean some and not others.
async fn events(wire: &Wire) -> Vec<Value> {
    let headers = [
        ("X-Created-By", "ada"),
        ("X-Correlation-Id", CORRELATION),
        ("X-Causation-Id", COMMAND),
    ];
    let update = |number: usize| json!({"nick_name": format!("n{number}")});
    for (number, id) in ["u1", "u2"].into_iter().enumerate() {
        let path = format!("User/{id}");
        wire.command_with(&path, "create", &user(id), &headers[..=number])
            .await
            .is(201);
        // Of the last, one has no header, one has all.
        for set in 0..4 {
            wire.command_with(&path, "update", &update(set), &headers[..set])
                .await
                .is(200);
        }
        wire.command_with(&path, "update", &update(4), &headers[1..])
            .await
            .is(200);
        let of_the_role = format!("Role/{id}");
        wire.command_with(&of_the_role, "create", &role(id), &headers)
            .await
            .is(201);
        let renamed = json!({"name": "R"});
        wire.command_with(&of_the_role, "update", &renamed, &headers[..1])
            .await
            .is(200);
    }
    let all = wire.get("/v1/events").await;
    all.is(200).body["events"].as_array().unwrap().clone()
}

fn filters(all: &[Value]) -> Vec<Filter> {
    let time_of = |index: usize| all[index]["occurred_at"].as_str().unwrap().to_owned();
    vec![
        Filter::equals("aggregate_type", &["User"]),
        Filter::equals("aggregate_id", &["u1"]),
        Filter::equals("event_type", &["UserUpdatedEvent", "RoleCreatedEvent"]),
        Filter::equals("created_by", &["ada"]),
        Filter::equals("correlation_id", &[CORRELATION]),
        Filter::equals("causation_id", &[COMMAND]),
        Filter::time("from", time_of(2), true),
        Filter::time("to", time_of(12), false),
    ]
}

/// The events of every page, each asked for with the cursor of the one before.
async fn pages(wire: &Wire, query: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = wire.get(&format!("/v1/events?{query}{after}")).await;
        found.extend(page.is(200).body["events"].as_array().unwrap().clone());
        let Some(next) = page.body["next"].as_u64() else {
            return found;
        };
        after = format!("&after={next}");
    }
}

#[tokio::test]
async fn every_combination_of_filters_means_what_all_of_them_mean() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let all = events(&wire).await;
        assert_eq!(all.len(), 16);
        let filters = filters(&all);
        let mut some = 0;
        for which in 0_u32..1 << filters.len() {
            let set = filters.iter().enumerate();
            let set: Vec<&Filter> = set
                .filter(|(bit, _)| which & (1 << bit) != 0)
                .map(|(_, filter)| filter)
                .collect();
            let query: String = set.iter().map(|filter| filter.query.as_str()).collect();
            let mut meant: Vec<Value> = all
                .iter()
                .filter(|event| set.iter().all(|filter| (filter.means)(event)))
                .cloned()
                .collect();
            some += usize::from(!meant.is_empty() && meant.len() < all.len());

            let oldest_first = pages(&wire, &format!("order=asc&limit=5{query}")).await;
            let newest_first = pages(&wire, &format!("order=desc&limit=5{query}")).await;

            assert_eq!(oldest_first, meant, "{query}");
            meant.reverse();
            assert_eq!(newest_first, meant, "{query}, newest first");
        }
        // Else the comparison says little.
        assert!(some > 200, "{some}");
    }
}

//! A log that leaves one database and enters another, by the real binary.

mod kills;

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    Backend, backends,
    command::{Ended, run},
    scratch,
    server::Server,
};

const QUICK: [(&str, &str); 2] = [
    ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "8"),
    ("DORMOUSE__IAM__ARGON2_ITERATIONS", "1"),
];

#[track_caller]
fn went_well(ended: &Ended) -> String {
    ended.prints(0).to_owned()
}

#[track_caller]
fn refused(ended: &Ended, code: i32, parts: &[&str]) {
    ended.prints(code);
    let errors = &ended.errors;
    for part in parts {
        assert!(errors.contains(part), "{errors} does not tell `{part}`");
    }
}

async fn serve(store: &str) -> Server {
    let [memory, iterations] = QUICK;
    Server::start(&[("DORMOUSE__STORE__URL", store), memory, iterations]).await
}

async fn create(server: &Server, id: &str, username: &str) -> (u16, Value) {
    let path = format!("/v1/aggregates/User/{id}/commands/create");
    let body = json!({"username": username, "password": "a long password", "domain": "d", "nick_name": id});
    let request = reqwest::Client::new().post(format!("{}{path}", server.url()));
    let answer = request.json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A log of three users.
async fn a_log(backend: &Backend) -> String {
    let store = backend.store_url();
    let server = serve(&store).await;
    for id in ["u1", "u2", "u3"] {
        assert_eq!(create(&server, id, &format!("name-{id}")).await.0, 201);
    }
    drop(server);
    store
}

/// The events of a log as they are exported, but for their positions.
fn events(store: &str) -> Vec<Value> {
    let exported = went_well(&run(store, &["export", "--include-secrets"]));
    let event = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event.as_object_mut().unwrap().remove("position");
        event
    };
    exported.lines().map(event).collect()
}

fn write(directory: &Path, text: &str) -> String {
    let file = directory.join("log.jsonl");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_log_enters_a_database_of_the_other_kind_as_it_was() {
    let (from, to) = (backends().await, backends().await);
    let directory = scratch();
    for ((from, to), format) in from
        .iter()
        .zip(to.iter().rev())
        .zip(["dormouse", "cloudevents"])
    {
        let (from, to) = (a_log(from).await, to.store_url());
        went_well(&run(&to, &["migrate"]));
        let export = ["export", "--include-secrets", "--format", format];
        let lines = went_well(&run(&from, &export));
        let beginning: String = lines.split_inclusive('\n').take(2).collect();

        // As if it had been killed after two events; then twice, as if nobody knew.
        let part = run(&to, &["import", &write(directory.path(), &beginning)]);
        went_well(&part);
        let file = write(directory.path(), &lines);
        for _ in 0..2 {
            went_well(&run(&to, &["import", &file]));
        }

        assert_eq!(events(&to), events(&from), "{format}");
        let server = serve(&to).await;
        let taken = create(&server, "u9", "name-u2").await;
        assert_eq!((taken.0, &taken.1["code"]), (409, &json!("claim-taken")));
        let user = reqwest::get(format!("{}/v1/aggregates/User/u3", server.url()));
        let user: Value = user.await.unwrap().json().await.unwrap();
        assert_eq!(user["state"]["username"], json!("name-u3"));
    }
}

#[tokio::test]
async fn events_without_their_secrets_are_refused_unless_they_are_wanted() {
    let (from, to) = (Backend::sqlite(), Backend::sqlite());
    let (from, to) = (a_log(&from).await, to.store_url());
    went_well(&run(&to, &["migrate"]));
    let directory = scratch();
    let lines = went_well(&run(&from, &["export"]));
    let file = write(directory.path(), &lines);

    let import = run(&to, &["import", &file]);
    let nothing = events(&to);
    let wanted = run(&to, &["import", "--allow-redacted", &file]);

    assert!(!lines.contains("$argon2"), "{lines}");
    refused(&import, 3, &["line 1: redacted: ", "--include-secrets"]);
    assert_eq!(nothing, Vec::<Value>::new());
    // They are stored; the users cannot be read without what is missing, and are named.
    refused(&wanted, 4, &["User/u1"]);
    assert_eq!(events(&to).len(), 3);
}

#[tokio::test]
async fn wrong_input_is_told_with_line_and_field_and_nothing_is_stored() {
    let store = Backend::sqlite();
    let store = store.store_url();
    went_well(&run(&store, &["migrate"]));
    let directory = scratch();
    let line = |id: u64, aggregate: &str, version: u64| {
        let id = ulid::Ulid::from_parts(id, 7);
        json!({
            "id": id, "aggregate_id": aggregate, "aggregate_type": "Unheard", "event_type": "Happened",
            "event_data": {"any": ["thing"]}, "version": version, "occurred_at": "2011-11-01T08:30:00Z",
            "correlation_id": id,
        })
        .to_string()
    };
    let good = [line(1, "a", 1), line(2, "b", 1), line(3, "a", 2)].join("\n");
    let wrong = [
        format!("{good}\n{}", line(4, "a", 4)),
        format!("{good}\n{}", line(2, "c", 1)),
        format!("{good}\n{}", line(4, "c", 2)),
        format!("{good}\n\n{}", line(4, "a b", 1)),
        format!("{good}\n{{\"id\": 7}}"),
    ];
    let told = [
        ["line 4: version: ", "version 4 where 3 belongs"],
        ["line 4: id: ", "comes twice"],
        [
            "line 4: version: ",
            "begins with version 2, and 0 is stored",
        ],
        ["line 5: aggregate_id: ", "1 to 64 characters"],
        ["line 4: id: ", "invalid type"],
    ];

    for (wrong, told) in wrong.iter().zip(told) {
        let import = run(&store, &["import", &write(directory.path(), wrong)]);
        refused(&import, 3, &told);
        assert_eq!(events(&store), Vec::<Value>::new(), "{wrong}");
    }
    went_well(&run(&store, &["import", &write(directory.path(), &good)]));
    let other = format!("{}\n", line(9, "b", 1));
    let another = run(&store, &["import", &write(directory.path(), &other)]);

    refused(
        &another,
        3,
        &["line 1: version: another event is stored as version 1 of Unheard/b"],
    );
    assert_eq!(events(&store).len(), 3);
}

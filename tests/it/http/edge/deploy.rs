//! What is shipped for operators speaks of what there is.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use crate::{
    http::{Wire, until},
    support::{Backend, exposition::Figures, server::Server},
};

fn shipped(name: &str) -> String {
    fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("deploy")
            .join(name),
    )
    .unwrap()
}

/// The names of metrics in a text of expressions, without what a histogram's series add.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let in_a_name = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    let words = text.split(|sign| !in_a_name(sign));
    let names = words.filter(|word| word.starts_with("dormouse_") && *word != "dormouse_");
    let bare = names.map(|name| {
        let suffixes = ["_bucket", "_sum", "_count"];
        let bare = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        bare.unwrap_or(name).to_owned()
    });
    bare.collect()
}

/// The values that are asked for of a label, such as `outcome=~"a|b"`.
fn values_of<'a>(label: &str, text: &'a str) -> BTreeSet<&'a str> {
    let equals = [
        format!("{label}=~\\\""),
        format!("{label}=\\\""),
        format!("{label}=~\""),
        format!("{label}=\""),
    ];
    let mut found = BTreeSet::new();
    for equal in equals {
        for part in text.split(&equal).skip(1) {
            let end = part.find(['"', '\\']).unwrap();
            found.extend(part[..end].split('|'));
        }
    }
    found
}

/// The places outside `src` that sources in it are compiled with, by their first part; tests' own are none.
fn places_beside_src() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut places = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            for (macro_name, from) in [
                ("include_str!(\"", folder.as_path()),
                ("include_bytes!(\"", folder.as_path()),
                ("migrate!(\"", root),
            ] {
                for named in text.split(macro_name).skip(1) {
                    let named = from.join(named.split('"').next().unwrap());
                    let named = named.canonicalize().unwrap();
                    let inside = named.strip_prefix(root).unwrap().components().next();
                    places.insert(inside.unwrap().as_os_str().to_str().unwrap().to_owned());
                }
            }
        }
    }
    places
}

#[test]
fn all_that_the_program_is_compiled_of_is_copied_into_the_image() {
    let file = shipped("docker/Dockerfile");
    let copied: BTreeSet<&str> = file
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|copy| !copy.starts_with("--"))
        .flat_map(str::split_whitespace)
        .collect();
    let left_out = shipped("docker/Dockerfile.dockerignore");

    let mut needed = places_beside_src();
    // Cargo reads the manifest whole, and looks for the targets that it names.
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let manifest: toml::Table = manifest.unwrap().parse().unwrap();
    for kind in ["bench", "test", "example"] {
        for target in manifest[kind].as_array().unwrap() {
            let (folder, _) = target["path"].as_str().unwrap().split_once('/').unwrap();
            needed.insert(folder.to_owned());
        }
    }

    assert!(needed.len() > 5, "{needed:?}");
    needed.extend(["Cargo.toml", "Cargo.lock", "src"].map(str::to_owned));
    for place in &needed {
        assert!(
            copied.contains(place.as_str()),
            "{place} is not copied: {copied:?}"
        );
        assert!(
            left_out.lines().all(|line| line != place),
            "{place} is left out"
        );
    }
}

#[tokio::test]
async fn the_image_serves_with_the_settings_it_brings_and_asks_who_comes() {
    let file = shipped("docker/Dockerfile");
    let settings: Vec<(&str, &str)> = file
        .lines()
        .filter_map(|line| line.strip_prefix("ENV ")?.split_once('='))
        .collect();
    let bind = |(name, _): &&(&str, &str)| *name == "DORMOUSE__HTTP__BIND";
    let (_, bind) = settings
        .iter()
        .find(bind)
        .expect("it says where it listens");
    let bind: SocketAddr = bind.parse().unwrap();
    assert!(bind.ip().is_unspecified(), "nobody outside would reach it");

    let backend = Backend::sqlite();
    let mut all = settings.clone();
    let url = backend.store_url();
    all.push(("DORMOUSE__STORE__URL", &url));
    let server = Server::start_at(SocketAddr::new(bind.ip(), 0), &all).await;

    let asked = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://127.0.0.1:{}/v1/types", server.address().port());
    assert_eq!(asked.get(url).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn every_metric_in_the_dashboard_and_the_alerts_is_told_by_the_server() {
    let wire = Wire::sqlite(&[]).await;
    until("the directory is built", async || {
        let text = wire.get("/metrics").await.text;
        text.contains("dormouse_projection_position{")
    })
    .await;
    let page = wire.get("/metrics").await.text;
    let told = Figures::read(&page).families;
    let told: BTreeSet<String> = told.into_iter().map(|family| family.name).collect();

    for name in ["grafana/dormouse.json", "prometheus/alerts.yml"] {
        let used = metrics_in(&shipped(name));
        let unknown: Vec<_> = used.difference(&told).collect();
        assert!(used.len() > 9, "{name}: {used:?}");
        assert!(unknown.is_empty(), "{name} asks for {unknown:?}");
        for (label, metric) in [
            ("outcome", "dormouse_commands_total"),
            ("what", "dormouse_http_timeouts_total"),
        ] {
            for value in values_of(label, &shipped(name)) {
                let there = page.lines().any(|line| {
                    (line.starts_with(metric) || line.starts_with("dormouse_tls_reloads_total"))
                        && line.contains(&format!("{label}=\"{value}\""))
                });
                assert!(there, "{name}: no series has {label}={value}");
            }
        }
    }
}

#[test]
fn the_dashboard_is_json_and_every_panel_asks_for_something() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&shipped("grafana/dormouse.json")).unwrap();

    let panels = dashboard["panels"].as_array().unwrap();
    let asking = panels.iter().filter(|panel| panel["type"] != "row");
    let mut ids = BTreeSet::new();
    for panel in asking {
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
    }
    assert!(ids.len() > 15);
}

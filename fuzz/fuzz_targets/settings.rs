//! Whatever stands in the file of settings: settings, or errors that tell no secret.
#![no_main]

use std::fs;

use dormouse::settings::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = std::env::temp_dir().join(format!("dormouse-fuzz-{}.toml", std::process::id()));
    fs::write(&path, text).expect("the temporary directory can be written");
    let loaded = Settings::load(Some(&path), std::iter::empty());
    match loaded {
        Ok(settings) => drop(format!("{settings:?}")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

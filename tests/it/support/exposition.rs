//! Prometheus' text format, read as strictly as its page describes it.

use std::collections::BTreeMap;

/// A family as the text tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: String,
    /// The names of its labels, without `le`.
    pub(crate) labels: Vec<String>,
}

/// Everything in a text.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) families: Vec<Told>,
    /// By name and labels, as they stand in the text.
    samples: BTreeMap<String, f64>,
}

impl Figures {
    /// Reads a text; whatever Prometheus would refuse fails the test.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut figures = Self::default();
        for line in text.lines() {
            figures.line(line);
        }
        figures.check_histograms();
        figures
    }

    /// A figure by its name and labels: `a_total{kind="x"}`.
    #[track_caller]
    pub(crate) fn get(&self, sample: &str) -> f64 {
        let value = self.find(sample);
        value.unwrap_or_else(|| panic!("there is no {sample} in {:#?}", self.samples))
    }

    /// The same, where it may be missing.
    pub(crate) fn find(&self, sample: &str) -> Option<f64> {
        self.samples.get(sample).copied()
    }

    /// All of one name that have a label: `kind="x"`.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let labelled = |sample: &str| {
            let labels = sample.strip_prefix(name).unwrap_or_default();
            labels.starts_with('{') && labels.contains(label)
        };
        let samples = self.samples.iter();
        let samples = samples.filter(|(sample, _)| labelled(sample));
        samples.map(|(_, value)| value).sum()
    }

    /// What has become of a figure since an earlier text.
    #[track_caller]
    pub(crate) fn since(&self, before: &Self, sample: &str) -> f64 {
        self.get(sample) - before.get(sample)
    }

    fn line(&mut self, line: &str) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            let twice = self.families.iter().any(|family| family.name == name);
            assert!(!twice, "{name} is told twice");
            self.families.push(Told {
                name: name.to_owned(),
                help: help.to_owned(),
                kind: String::new(),
                labels: Vec::new(),
            });
            return;
        }
        let family = self.families.last_mut().expect("a family comes first");
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!((name, family.kind.as_str()), (family.name.as_str(), ""));
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            kind.clone_into(&mut family.kind);
            return;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let suffix = name.strip_prefix(family.name.as_str()).unwrap();
        let suffixes: &[&str] = match family.kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        assert_eq!(
            family.kind == "counter",
            family.name.ends_with("_total"),
            "{line}"
        );
        let names = label_names(labels.trim_end_matches('}'));
        family.labels = names.into_iter().filter(|name| name != "le").collect();
        let value: f64 = value.parse().unwrap();
        assert!(value >= 0.0, "{line}");
        let before = self.samples.insert(sample.to_owned(), value);
        assert_eq!(before, None, "{sample} stands twice");
    }

    /// Each bucket holds what the smaller ones hold, and the last everything.
    fn check_histograms(&self) {
        for family in &self.families {
            assert_ne!(family.kind, "", "{} has no type", family.name);
            if family.kind != "histogram" {
                continue;
            }
            let count = format!("{}_count", family.name);
            let counts = self
                .samples
                .iter()
                .filter(|(name, _)| name.starts_with(&count));
            for (name, count) in counts {
                let bucket = name.replacen("_count", "_bucket", 1);
                let last = match bucket.strip_suffix('}') {
                    Some(labels) => format!("{labels},le=\"+Inf\"}}"),
                    None => format!("{bucket}{{le=\"+Inf\"}}"),
                };
                assert!((self.get(&last) - count).abs() < 0.5, "{name}");
            }
        }
    }
}

/// The names in `a="…",b="…"`; a value has no comma in these tests.
fn label_names(labels: &str) -> Vec<String> {
    let pairs = labels.split(',').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'));
            name.to_owned()
        })
        .collect()
}

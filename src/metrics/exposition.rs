//! Prometheus' text format, 0.0.4: each family's help, its type, then its samples.

use std::fmt::Write as _;

use super::Histogram;

/// What kind of figures a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and begins at zero with the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Figures that differ in their labels only.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name, which ends in its unit; a counter's then in `_total`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// A sentence that says what is counted.
    pub help: &'static str,
}

/// The text, as it grows family by family.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// The samples of a family on their way into the text.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut String,
    family: &'static Family,
}

impl Exposition {
    /// Begins a family; each stands once in a text.
    pub fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let Family { name, help, .. } = family;
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a text cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Samples {
            text: &mut self.0,
            family,
        }
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl Samples<'_> {
    /// A figure, with a value for each of the family's labels.
    pub fn sample(&mut self, labels: &[&str], value: u64) {
        self.line("", labels, None, &value.to_string());
    }

    /// A figure that need not be whole.
    pub fn fraction(&mut self, labels: &[&str], value: f64) {
        self.line("", labels, None, &value.to_string());
    }

    /// A distribution.
    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        histogram.write(self, labels);
    }

    pub(super) fn line(&mut self, suffix: &str, labels: &[&str], le: Option<&str>, value: &str) {
        debug_assert_eq!(
            labels.len(),
            self.family.labels.len(),
            "{}",
            self.family.name
        );
        self.text.push_str(self.family.name);
        self.text.push_str(suffix);
        let le = le.map(|bound| ("le", bound));
        let named = self.family.labels.iter().copied();
        let mut sign = '{';
        for (name, value) in named.zip(labels.iter().copied()).chain(le) {
            self.text.push(sign);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, self.text);
            self.text.push('"');
            sign = ',';
        }
        if sign == ',' {
            self.text.push('}');
        }
        self.text.push(' ');
        self.text.push_str(value);
        self.text.push('\n');
    }
}

fn escape(value: &str, text: &mut String) {
    for sign in value.chars() {
        match sign {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const COUNTED: Family = Family {
        name: "things_total",
        kind: Kind::Counter,
        labels: &["kind"],
        help: "What \\ is\ncounted.",
    };
    const TIMED: Family = Family {
        name: "thing_duration_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "How long.",
    };

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let mut exposition = Exposition::default();

        exposition.family(&COUNTED).sample(&["a\"b\\c\nd"], 3);

        let text = exposition.into_text();
        assert_eq!(
            text,
            "# HELP things_total What \\\\ is\\ncounted.\n# TYPE things_total counter\n\
             things_total{kind=\"a\\\"b\\\\c\\nd\"} 3\n"
        );
    }

    #[test]
    fn a_value_counts_in_its_bucket_and_in_every_larger_one() {
        let histogram = Histogram::of_durations();

        for micros in [100, 101, 30_000_000] {
            histogram.record_duration(Duration::from_micros(micros));
        }

        let mut exposition = Exposition::default();
        exposition.family(&TIMED).histogram(&[], &histogram);
        let text = exposition.into_text();
        for line in [
            "thing_duration_seconds_bucket{le=\"0.0001\"} 1",
            "thing_duration_seconds_bucket{le=\"0.00025\"} 2",
            "thing_duration_seconds_bucket{le=\"10\"} 2",
            "thing_duration_seconds_bucket{le=\"+Inf\"} 3",
            "thing_duration_seconds_sum 30.000201",
            "thing_duration_seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}

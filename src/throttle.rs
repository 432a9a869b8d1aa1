//! A log that one place in the code cannot flood: of each, so many lines a second, then a count.
//!
//! What floods a log is what clients do: refused requests, broken bodies, lost conflicts. One line of
//! those says as much as a thousand. What was left out is told before the next line of its place.

use std::{
    fmt,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use tracing::{Event, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// A format that leaves out what is too much.
#[derive(Debug)]
pub(crate) struct Throttled<F> {
    format: F,
    /// How the count is written.
    as_json: bool,
    throttle: Option<Throttle>,
}

impl<F> Throttled<F> {
    /// That many lines a second of each place; 0 leaves out none.
    pub(crate) fn new(format: F, as_json: bool, lines_per_second: u32) -> Self {
        Self {
            format,
            as_json,
            throttle: Throttle::new(lines_per_second),
        }
    }

    fn tell(&self, writer: &mut Writer<'_>, place: &Metadata<'_>, left_out: u64) -> fmt::Result {
        let (level, target) = (place.level(), place.target());
        if self.as_json {
            return writeln!(
                writer,
                "{{\"level\":\"{level}\",\"fields\":{{\"message\":\"lines like the next were left out\",\
                 \"left_out\":{left_out}}},\"target\":\"{target}\"}}"
            );
        }
        writeln!(
            writer,
            "{level:>5} {target}: {left_out} lines like the next were left out"
        )
    }
}

impl<S, N, F> FormatEvent<S, N> for Throttled<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(throttle) = &self.throttle {
            let place = event.metadata();
            match throttle.admit(place.callsite(), throttle.started.elapsed()) {
                None => return Ok(()),
                Some(0) => {}
                Some(left_out) => self.tell(&mut writer, place, left_out)?,
            }
        }
        self.format.format_event(ctx, writer, event)
    }
}

/// What each place in the code has logged in its second.
#[derive(Debug)]
struct Throttle {
    most: u64,
    started: Instant,
    /// As many as there are places that log.
    places: DashMap<Identifier, Place>,
}

#[derive(Debug, Default)]
struct Place {
    second: u64,
    lines: u64,
    left_out: u64,
}

impl Throttle {
    fn new(most: u32) -> Option<Self> {
        (most > 0).then(|| Self {
            most: most.into(),
            started: Instant::now(),
            places: DashMap::new(),
        })
    }

    /// Whether a line of this place is written now, and how many were left out before it.
    fn admit(&self, place: Identifier, now: Duration) -> Option<u64> {
        let mut place = self.places.entry(place).or_default();
        if place.second != now.as_secs() {
            place.second = now.as_secs();
            place.lines = 0;
        }
        if place.lines >= self.most {
            place.left_out += 1;
            return None;
        }
        place.lines += 1;
        Some(std::mem::take(&mut place.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{fmt, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of the lines of two places, one of which logs much, over two seconds.
    fn written(as_json: bool) -> String {
        let sink = Sink::default();
        let writer = {
            let sink = sink.clone();
            move || sink.clone()
        };
        let layer = fmt::layer().with_writer(writer).with_ansi(false);
        let flood = |line: u32| tracing::info!(line, "much");
        let log = || {
            for line in 0..10 {
                flood(line);
            }
            tracing::info!("little");
            std::thread::sleep(Duration::from_millis(1100));
            flood(10);
        };
        if as_json {
            let layer = layer.json();
            let layer = layer.map_event_format(|format| Throttled::new(format, true, 3));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        } else {
            let layer = layer.map_event_format(|format| Throttled::new(format, false, 3));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        }
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_place_that_logs_too_much_is_cut_short_and_what_was_left_out_is_counted() {
        let text = written(false);

        // The second may end within the flood: then it is let through twice.
        let much = text.lines().filter(|line| line.contains("much")).count();
        assert!((4..=7).contains(&much), "{text}");
        assert_eq!(text.matches("little").count(), 1, "{text}");
        assert!(text.contains("lines like the next were left out"), "{text}");
        assert!(text.ends_with("line=10\n"), "{text}");
    }

    #[test]
    fn every_line_stays_json_where_it_is() {
        let text = written(true);

        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let told = lines
            .iter()
            .filter_map(|line| line["fields"]["left_out"].as_u64());
        let much = lines
            .iter()
            .filter(|line| line["fields"]["message"] == "much");
        assert_eq!(told.sum::<u64>() + u64::try_from(much.count()).unwrap(), 11);
    }
}

//! Upcasters: old event data, brought to today's schema when it is read.

use std::collections::HashMap;

use serde_json::Value;

use super::EventType;

/// One step of a chain: the data of an event type at one schema version, to the next.
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    event_type: &'static str,
    from: u32,
    renamed_to: Option<&'static str>,
    upcast: fn(Value) -> Value,
}

/// A chain of upcasters that cannot work; it stops the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpcasterError {
    /// A stored schema version has no way to today's.
    #[error(
        "no upcaster leads `{event_type}` from schema version {version} on: it is at {current} today"
    )]
    Gap {
        /// The event type today.
        event_type: String,
        /// The schema version nothing leads on from.
        version: u32,
        /// The schema version written today.
        current: u32,
    },
    /// Two upcasters start at the same place.
    #[error("two upcasters start at `{event_type}` schema version {version}")]
    Repeated {
        /// The event type of both.
        event_type: &'static str,
        /// The schema version of both.
        version: u32,
    },
    /// An upcaster leads to no event type of today.
    #[error(
        "the upcaster of `{event_type}` at schema version {version} leads to no event type declared today"
    )]
    LooseEnd {
        /// The event type it starts at.
        event_type: &'static str,
        /// The schema version it starts at.
        version: u32,
    },
    /// Schema versions count from 1.
    #[error("`{0}` is declared at schema version 0; they count from 1")]
    VersionZero(&'static str),
    /// An event type is declared twice.
    #[error("the event type `{0}` is declared twice")]
    DeclaredTwice(&'static str),
}

impl Upcaster {
    /// Brings `event_type` from schema version `from` to `from + 1`.
    #[must_use]
    pub const fn new(event_type: &'static str, from: u32, upcast: fn(Value) -> Value) -> Self {
        Self {
            event_type,
            from,
            renamed_to: None,
            upcast,
        }
    }

    /// The same, and the event type has another name from `from + 1` on.
    #[must_use]
    pub const fn renamed_to(mut self, event_type: &'static str) -> Self {
        self.renamed_to = Some(event_type);
        self
    }
}

/// Every upcaster of one aggregate's events, checked to be whole.
#[derive(Debug, Clone, Default)]
pub struct Upcasters {
    steps: HashMap<(&'static str, u32), Upcaster>,
    current: HashMap<&'static str, u32>,
}

impl Upcasters {
    /// Checks that every schema version of every event type leads to today's.
    ///
    /// # Errors
    /// [`UpcasterError`], which names the event type and the version.
    pub fn chain(
        types: &[EventType],
        upcasters: impl IntoIterator<Item = Upcaster>,
    ) -> Result<Self, UpcasterError> {
        let mut chain = Self::default();
        for event_type in types {
            if event_type.schema_version == 0 {
                return Err(UpcasterError::VersionZero(event_type.name));
            }
            let before = chain
                .current
                .insert(event_type.name, event_type.schema_version);
            if before.is_some() {
                return Err(UpcasterError::DeclaredTwice(event_type.name));
            }
        }
        for upcaster in upcasters {
            let start = (upcaster.event_type, upcaster.from);
            if chain.steps.insert(start, upcaster).is_some() {
                return Err(UpcasterError::Repeated {
                    event_type: start.0,
                    version: start.1,
                });
            }
        }
        chain.check()?;
        Ok(chain)
    }

    fn check(&self) -> Result<(), UpcasterError> {
        for (name, current) in &self.current {
            // A type that others were renamed to has no data of its own before the rename.
            let first = self.renamed_at(name).unwrap_or(1);
            for version in first..*current {
                if !self.steps.contains_key(&(*name, version)) {
                    return Err(UpcasterError::Gap {
                        event_type: (*name).to_owned(),
                        version,
                        current: *current,
                    });
                }
            }
        }
        for (event_type, version) in self.steps.keys() {
            if !self.leads_to_today(event_type, *version) {
                return Err(UpcasterError::LooseEnd {
                    event_type,
                    version: *version,
                });
            }
        }
        Ok(())
    }

    fn renamed_at(&self, name: &str) -> Option<u32> {
        let renames = self
            .steps
            .values()
            .filter(|step| step.renamed_to == Some(name));
        renames.map(|step| step.from + 1).min()
    }

    /// Whether the steps from here on end at a schema version written today.
    fn leads_to_today(&self, event_type: &str, version: u32) -> bool {
        let mut at = (event_type, version);
        while self.current.get(at.0) != Some(&at.1) {
            let Some(step) = self.steps.get(&at) else {
                return false;
            };
            at = (step.renamed_to.unwrap_or(at.0), at.1 + 1);
        }
        true
    }

    /// The data at today's schema, with today's event type; nothing where no chain leads there.
    #[must_use]
    pub fn upcast(
        &self,
        event_type: &str,
        schema_version: u32,
        mut data: Value,
    ) -> Option<(&'static str, Value)> {
        let mut at = (event_type, schema_version);
        loop {
            if let Some((name, current)) = self.current.get_key_value(at.0)
                && *current == at.1
            {
                return Some((name, data));
            }
            let step = self.steps.get(&at)?;
            data = (step.upcast)(data);
            at = (step.renamed_to.unwrap_or(step.event_type), at.1 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn step(event_type: &'static str, from: u32) -> Upcaster {
        Upcaster::new(event_type, from, |mut data| {
            data["steps"] = json!(data["steps"].as_u64().unwrap_or(0) + 1);
            data
        })
    }

    #[test]
    fn a_chain_leads_each_old_version_to_todays() {
        let types = [EventType::new("B", 3)];
        let chain = Upcasters::chain(&types, [step("A", 1).renamed_to("B"), step("B", 2)]).unwrap();

        let upcast = chain.upcast("A", 1, json!({}));

        assert_eq!(upcast, Some(("B", json!({"steps": 2}))));
        assert_eq!(chain.upcast("C", 1, json!({})), None);
    }

    #[test]
    fn a_gap_is_named() {
        let types = [EventType::new("A", 3)];

        let error = Upcasters::chain(&types, [step("A", 1)]).unwrap_err();

        assert_eq!(
            error,
            UpcasterError::Gap {
                event_type: "A".to_owned(),
                version: 2,
                current: 3
            }
        );
    }

    #[test]
    fn repeats_and_loose_ends_are_refused() {
        let types = [EventType::new("A", 2)];

        let repeated = Upcasters::chain(&types, [step("A", 1), step("A", 1)]).unwrap_err();
        let loose = Upcasters::chain(&types, [step("A", 1), step("Gone", 1)]).unwrap_err();

        assert!(matches!(
            repeated,
            UpcasterError::Repeated { version: 1, .. }
        ));
        assert!(matches!(
            loose,
            UpcasterError::LooseEnd {
                event_type: "Gone",
                ..
            }
        ));
    }
}

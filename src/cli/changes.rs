//! What differs between two states, field by field.

use serde_json::{Map, Value};

/// A field that is another than before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// Where it is, as names joined by dots.
    pub(super) field: String,
    /// What was there; nothing where it was absent.
    pub(super) before: Option<Value>,
    /// What is there; nothing where it is absent.
    pub(super) after: Option<Value>,
}

/// The fields that differ, in the order of their names. Objects are gone through; a list is one
/// value, because its elements have no names by which to tell what became of which.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

fn compare(field: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let none = Map::new();
    let members = match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => (before, after),
        // What comes or goes as a whole is told by its fields too.
        (None | Some(Value::Null), Some(Value::Object(after))) if !after.is_empty() => {
            (&none, after)
        }
        (Some(Value::Object(before)), None | Some(Value::Null)) if !before.is_empty() => {
            (before, &none)
        }
        _ => {
            found.push(Change {
                field,
                before: before.cloned(),
                after: after.cloned(),
            });
            return;
        }
    };
    let mut names: Vec<&String> = members.0.keys().chain(members.1.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let inner = if field.is_empty() {
            name.clone()
        } else {
            format!("{field}.{name}")
        };
        compare(inner, members.0.get(name), members.1.get(name), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(before: &Value, after: &Value) -> Vec<String> {
        let text =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "-".into(), Value::to_string);
        changes(before, after)
            .iter()
            .map(|change| {
                let (before, after) = (text(&change.before), text(&change.after));
                format!("{} {before} {after}", change.field)
            })
            .collect()
    }

    #[test]
    fn equal_states_have_no_changes() {
        let state = json!({"a": [1, {"b": null}]});

        assert!(changes(&state, &state).is_empty());
    }

    #[test]
    fn fields_are_told_by_their_path_in_the_order_of_their_names() {
        let before = json!({"name": "a", "address": {"city": "x", "zip": 1}, "gone": true});
        let after = json!({"name": "b", "address": {"city": "y", "zip": 1}, "roles": ["r"]});

        assert_eq!(
            told(&before, &after),
            [
                r#"address.city "x" "y""#,
                "gone true -",
                r#"name "a" "b""#,
                r#"roles - ["r"]"#
            ]
        );
    }

    #[test]
    fn a_list_is_one_value_and_null_is_another_than_absent() {
        assert_eq!(
            told(&json!({"l": [1], "n": null}), &json!({"l": [1, 2]})),
            ["l [1] [1,2]", "n null -"]
        );
    }

    #[test]
    fn what_comes_as_a_whole_is_told_by_its_fields() {
        assert_eq!(
            told(&json!(null), &json!({"User": {"name": "a", "empty": {}}})),
            ["User.empty - {}", r#"User.name - "a""#]
        );
    }

    #[test]
    fn a_state_that_is_no_object_is_one_value() {
        assert_eq!(
            told(&json!("Absent"), &json!({"a": 1})),
            [r#" "Absent" {"a":1}"#]
        );
    }
}

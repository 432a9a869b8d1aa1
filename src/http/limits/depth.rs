//! How deep JSON is nested, told from its brackets alone, before anything is built of it.

/// Whether arrays and objects are nested deeper than that. What is no JSON is found elsewhere.
pub(in crate::http) fn is_deeper_than(limit: usize, json: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    for byte in json {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_deeper_than;

    #[test]
    fn brackets_are_counted_where_they_nest() {
        assert!(!is_deeper_than(2, br#"{"a":[],"b":[],"c":{}}"#));
        assert!(is_deeper_than(2, br#"{"a":[[]]}"#));
        assert!(is_deeper_than(0, b"{}"));
        assert!(!is_deeper_than(0, b"7"));
    }

    #[test]
    fn brackets_in_texts_are_none() {
        assert!(!is_deeper_than(1, br#"{"a":"[[[{{{"}"#));
        assert!(!is_deeper_than(1, br#"{"a":"\"[[["}"#));
        assert!(is_deeper_than(1, br#"{"a\\":[]}"#));
    }
}

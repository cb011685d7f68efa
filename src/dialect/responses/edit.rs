//! Setting members of a JSON object without building a tree.

use crate::dialect::json::{self, Edit};

/// The object with these members set: in place of what stands there (the last, should a name stand twice), or added at its end.
/// `values` are JSON. `None` when the text is no object.
pub(super) fn set(object: &str, values: &[(&str, &str)]) -> Option<String> {
    let members = json::members(object)?;
    let mut edits = Vec::with_capacity(values.len() + 1);
    let mut added = String::new();
    for (name, value) in values {
        match members.iter().rev().find(|(member, _)| member == name) {
            Some((_, raw)) => edits.push(Edit { at: json::span_in(object.as_bytes(), raw.get()), with: (*value).to_owned() }),
            None => {
                let comma = if members.is_empty() && added.is_empty() { "" } else { "," };
                added.push_str(&format!("{comma}\"{name}\":{value}"));
            }
        }
    }
    if !added.is_empty() {
        let end = object.rfind('}')?;
        edits.push(Edit { at: end..end, with: added });
    }
    edits.sort_by_key(|edit| edit.at.start);
    String::from_utf8(json::splice(object.as_bytes(), &edits).to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::set;

    #[test]
    fn members_are_replaced_or_added() {
        let edited = |object: &str| set(object, &[("a", "1"), ("b", "\"x\"")]);
        assert_eq!(edited("{}").as_deref(), Some(r#"{"a":1,"b":"x"}"#));
        assert_eq!(edited(r#" {"c":{"a":0},"b":null} "#).as_deref(), Some(r#" {"c":{"a":0},"b":"x","a":1} "#));
        assert_eq!(edited(r#"{"a":5,"b":7,"a":6}"#).as_deref(), Some(r#"{"a":5,"b":"x","a":1}"#));
        assert_eq!(edited("[]"), None);
        assert_eq!(edited("{"), None);
    }
}

//! Gemini's own schema language (a subset of OpenAPI 3.0 in protobuf JSON), turned into JSON Schema for other vendors.
//!
//! Rewritten as text, member by member, so that the order of properties (which models follow when they write) and the spelling of numbers
//! stay. What was JSON Schema already comes out as it went in.

use serde_json::value::RawValue;

use super::fields::same_name;
use crate::dialect::{
    canonical::Json,
    json::{self, Text, push_string},
};

/// Members whose value is a schema, a list of schemas, or schemas by name.
const SCHEMAS: [&str; 3] = ["items", "additionalProperties", "not"];
const SCHEMA_LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
const SCHEMA_MAPS: [&str; 3] = ["properties", "$defs", "defs"];
/// Protobuf writes these as strings.
const COUNTS: [&str; 6] = ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];
const DEPTH_MAX: usize = 128;

/// The schema as JSON Schema; what cannot be read stays as it is.
pub(super) fn to_json_schema(schema: &RawValue) -> Json {
    let mut out = Vec::with_capacity(schema.get().len() + 32);
    push_schema(&mut out, schema.get(), 0);
    std::str::from_utf8(&out).ok().and_then(Json::parse).unwrap_or_else(|| Json::of(&schema))
}

fn push_schema(out: &mut Vec<u8>, schema: &str, depth: usize) {
    let Some(members) = json::members(schema).filter(|_| depth < DEPTH_MAX) else {
        out.extend_from_slice(schema.as_bytes());
        return;
    };
    let nullable = members.iter().any(|(name, value)| name == "nullable" && value.get() == "true");
    out.push(b'{');
    let mut written = false;
    for (name, value) in &members {
        // `nullable` goes into the type, and the order of members says what `propertyOrdering` says.
        if name == "nullable" || same_name(name, "propertyOrdering") {
            continue;
        }
        if std::mem::replace(&mut written, true) {
            out.push(b',');
        }
        push_member(out, name, value.get(), nullable, depth);
    }
    out.push(b'}');
}

fn push_member(out: &mut Vec<u8>, name: &str, value: &str, nullable: bool, depth: usize) {
    let known = |names: &[&'static str]| names.iter().copied().find(|known| same_name(name, known) || name == *known);
    let mut key = |name: &str| {
        push_string(out, name);
        out.push(b':');
    };
    if name == "type" {
        key(name);
        push_type(out, value, nullable);
    } else if let Some(name) = known(&COUNTS) {
        key(name);
        out.extend_from_slice(value.trim_matches('"').as_bytes());
    } else if let Some(name) = known(&SCHEMAS) {
        key(name);
        push_schema(out, value, depth + 1);
    } else if let Some(name) = known(&SCHEMA_LISTS) {
        key(name);
        push_list(out, value, depth + 1);
    } else if let Some(name) = known(&SCHEMA_MAPS) {
        key(if name == "defs" { "$defs" } else { name });
        push_map(out, value, depth + 1);
    } else if name == "enum" && nullable {
        key(name);
        push_nullable_enum(out, value);
    } else if name == "ref" {
        key("$ref");
        out.extend_from_slice(value.replacen("#/defs/", "#/$defs/", 1).as_bytes());
    } else {
        key(name);
        out.extend_from_slice(value.as_bytes());
    }
}

/// `"STRING"` is `"string"`; one that may be null is `["string","null"]`.
fn push_type(out: &mut Vec<u8>, value: &str, nullable: bool) {
    match serde_json::from_str::<Text<'_>>(value) {
        Ok(kind) => {
            let kind = kind.0.to_ascii_lowercase();
            if nullable {
                out.push(b'[');
                push_string(out, &kind);
                out.extend_from_slice(b",\"null\"]");
            } else {
                push_string(out, &kind);
            }
        }
        Err(_) => out.extend_from_slice(value.as_bytes()),
    }
}

fn push_nullable_enum(out: &mut Vec<u8>, value: &str) {
    let has_null = serde_json::from_str::<Vec<&RawValue>>(value).is_ok_and(|values| values.iter().any(|value| value.get() == "null"));
    match value.trim_end().strip_suffix(']') {
        Some(list) if !has_null => {
            out.extend_from_slice(list.as_bytes());
            out.extend_from_slice(if list.trim() == "[" { b"null]" } else { b",null]" });
        }
        _ => out.extend_from_slice(value.as_bytes()),
    }
}

fn push_list(out: &mut Vec<u8>, value: &str, depth: usize) {
    let Ok(schemas) = serde_json::from_str::<Vec<&RawValue>>(value) else {
        out.extend_from_slice(value.as_bytes());
        return;
    };
    out.push(b'[');
    for (at, schema) in schemas.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_schema(out, schema.get(), depth);
    }
    out.push(b']');
}

/// Names are the caller's own, also when one is called `ref` or `type`.
fn push_map(out: &mut Vec<u8>, value: &str, depth: usize) {
    let Some(members) = json::members(value) else {
        out.extend_from_slice(value.as_bytes());
        return;
    };
    out.push(b'{');
    for (at, (name, schema)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(out, &name);
        out.push(b':');
        push_schema(out, schema.get(), depth);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, expected: &str) {
        let raw: Box<RawValue> = serde_json::from_str(schema).unwrap();
        assert_eq!(to_json_schema(&raw).text(), expected);
    }

    #[test]
    fn types_are_written_small_and_nullable_joins_them() {
        check(r#"{"type":"STRING","nullable":true}"#, r#"{"type":["string","null"]}"#);
        check(r#"{"type":"STRING","nullable":true,"enum":["a"]}"#, r#"{"type":["string","null"],"enum":["a",null]}"#);
        check(
            r#"{"type":"ARRAY","items":{"type":"INTEGER"},"min_items":"1","maxItems":3}"#,
            r#"{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}"#,
        );
    }

    #[test]
    fn order_numbers_and_names_stay() {
        check(
            r#"{"type":"OBJECT","properties":{"z":{"type":"NUMBER","minimum":0.10},"ref":{"type":"STRING"},"type":{"type":"STRING"}},"required":["z"],"propertyOrdering":["z","ref"]}"#,
            r#"{"type":"object","properties":{"z":{"type":"number","minimum":0.10},"ref":{"type":"string"},"type":{"type":"string"}},"required":["z"]}"#,
        );
        check(
            r##"{"any_of":[{"type":"NULL"},{"ref":"#/defs/a"}],"defs":{"a":{"type":"BOOLEAN"}}}"##,
            r##"{"anyOf":[{"type":"null"},{"$ref":"#/$defs/a"}],"$defs":{"a":{"type":"boolean"}}}"##,
        );
    }

    #[test]
    fn json_schema_comes_out_as_it_went_in() {
        for schema in [
            r#"{"type":["string","null"],"additionalProperties":false,"const":"X","x-own":{"type":"STRING"}}"#,
            r##"{"$defs":{"a":{"type":"string"}},"$ref":"#/$defs/a"}"##,
            "true",
        ] {
            check(schema, schema);
        }
    }
}

//! JSON Schemas as Anthropic takes them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::dialect::{canonical::Json, json};

/// Members whose value is a map from names to schemas; the names mean nothing.
const MAPS: [&str; 4] = ["properties", "$defs", "definitions", "patternProperties"];
/// Members whose value is data, not a schema.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];

/// The schema of a tool's input, which has to say that it is an object.
pub(super) fn of_tool(schema: Option<&Json>) -> Json {
    let Some(schema) = schema.filter(|schema| schema.is_object()) else {
        return Json::parse(r#"{"type":"object","properties":{}}"#).unwrap_or_else(Json::empty_object);
    };
    let members = json::members(schema.text()).unwrap_or_default();
    if members.iter().any(|(name, _)| name == "type") {
        return schema.clone();
    }
    let typed = join(std::iter::once(r#""type":"object""#.to_owned()).chain(members.iter().map(|(name, raw)| member(name, raw.get()))));
    Json::parse(&typed).unwrap_or_else(|| schema.clone())
}

/// The schema of an answer. Anthropic takes only objects that allow no other properties than theirs, so those that leave it open are
/// closed: whatever fits the closed schema fits the open one.
pub(super) fn of_answer(schema: &Json) -> Json {
    Json::parse(&closed(schema.text())).unwrap_or_else(|| schema.clone())
}

/// Objects nest no deeper than a request may.
fn closed(schema: &str) -> Cow<'_, str> {
    if schema.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(schema).unwrap_or_default();
        let elements: Vec<Cow<'_, str>> = elements.into_iter().map(|element| closed(element.get())).collect();
        return Cow::Owned(format!("[{}]", elements.join(",")));
    }
    if !json::is_object(schema) {
        return Cow::Borrowed(schema);
    }
    let members = json::members(schema).unwrap_or_default();
    let value_of = |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, raw)| raw.get());
    let is_object = value_of("properties").is_some() || value_of("type").is_some_and(|kind| kind.contains("\"object\""));
    let is_open = is_object && value_of("additionalProperties").is_none();
    let written = members.iter().map(|(name, raw)| match &**name {
        map if MAPS.contains(&map) => member(name, &closed_map(raw.get())),
        data if DATA.contains(&data) => member(name, raw.get()),
        _ => member(name, &closed(raw.get())),
    });
    Cow::Owned(join(written.chain(is_open.then(|| r#""additionalProperties":false"#.to_owned()))))
}

fn closed_map(map: &str) -> String {
    let Some(members) = json::members(map) else { return map.to_owned() };
    join(members.iter().map(|(name, raw)| member(name, &closed(raw.get()))))
}

fn member(name: &str, value: &str) -> String {
    format!("{}:{value}", json::quoted(name))
}

fn join(members: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_schema_is_an_object() {
        let of = |schema: &str| of_tool(Json::parse(schema).as_ref()).text().to_owned();
        assert_eq!(of_tool(None).text(), r#"{"type":"object","properties":{}}"#);
        assert_eq!(of("{}"), r#"{"type":"object"}"#);
        assert_eq!(of(r#"{"properties":{"z":1,"a":2}}"#), r#"{"type":"object","properties":{"z":1,"a":2}}"#);
        assert_eq!(of(r#"{ "type":"object" }"#), r#"{ "type":"object" }"#);
    }

    #[test]
    fn open_objects_are_closed_and_names_and_data_are_left_alone() {
        let open = Json::parse(
            r#"{"type":"object","properties":{"type":{"type":"string","enum":["object"],"default":{"type":"object"}},"list":{"type":"array","items":{"type":["object","null"],"properties":{}}},"free":{"type":"object","additionalProperties":true}},"anyOf":[{"properties":{}}]}"#,
        )
        .expect("JSON");
        assert_eq!(
            of_answer(&open).text(),
            r#"{"type":"object","properties":{"type":{"type":"string","enum":["object"],"default":{"type":"object"}},"list":{"type":"array","items":{"type":["object","null"],"properties":{},"additionalProperties":false}},"free":{"type":"object","additionalProperties":true}},"anyOf":[{"properties":{},"additionalProperties":false}],"additionalProperties":false}"#
        );
    }
}

//! JSON schemas as the reference shows them: the fields of an object, a type in words, and an example that fits.

use serde_json::{Map, Value, json};

/// Deeper examples explain nothing more, and trees have no end.
const EXAMPLE_DEPTH_MAX: usize = 5;

/// Schemas by name, as the document's components hold them.
pub struct Schemas<'a> {
    all: Option<&'a Map<String, Value>>,
}

/// One member of an object.
pub struct Field<'a> {
    pub name: &'a str,
    pub required: bool,
    pub schema: &'a Value,
}

impl<'a> Schemas<'a> {
    pub fn of(document: &'a Value) -> Self {
        Self { all: document.pointer("/components/schemas").and_then(Value::as_object) }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.all.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
    }

    /// Follows a reference to what it names.
    pub fn resolve(&self, schema: &'a Value) -> &'a Value {
        reference(schema).and_then(|name| self.all?.get(name)).unwrap_or(schema)
    }

    /// Members of an object, those of its parts included.
    pub fn fields(&self, schema: &'a Value) -> Vec<Field<'a>> {
        let schema = self.resolve(schema);
        let mut fields = Vec::new();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            fields.extend(self.fields(part));
        }
        let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            fields.push(Field { name, required: required(name), schema: member });
        }
        fields
    }

    /// A value that fits the schema and looks like a real one.
    pub fn example(&self, schema: &'a Value) -> Value {
        self.example_at(schema, 0)
    }

    fn example_at(&self, schema: &'a Value, depth: usize) -> Value {
        let given = [&schema["example"], &schema["examples"][0], &schema["default"], &schema["enum"][0]];
        if let Some(given) = given.into_iter().find(|value| !value.is_null()) {
            return given.clone();
        }
        if let Some(name) = reference(schema) {
            return match self.all.and_then(|all| all.get(name)) {
                Some(target) if depth < EXAMPLE_DEPTH_MAX => self.example_at(target, depth + 1),
                _ => Value::Null,
            };
        }
        if let Some(choice) = choices(schema).find(|choice| choice["type"] != "null") {
            return self.example_at(choice, depth);
        }
        match type_name(schema) {
            "object" if depth >= EXAMPLE_DEPTH_MAX => json!({}),
            "array" if depth >= EXAMPLE_DEPTH_MAX || schema.get("items").is_none() => json!([]),
            "array" => json!([self.example_at(&schema["items"], depth + 1)]),
            "string" if schema["format"] == "date-time" => json!("2026-01-31T12:00:00Z"),
            "string" => json!("text"),
            "integer" | "number" => schema.get("minimum").filter(|least| least.as_i64() > Some(0)).cloned().unwrap_or(json!(0)),
            "boolean" => json!(true),
            _ => {
                let members =
                    self.fields(schema).into_iter().map(|field| (field.name.to_owned(), self.example_at(field.schema, depth + 1)));
                Value::Object(members.collect())
            }
        }
    }
}

/// The name a reference leads to.
pub fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

/// The alternatives of a schema, for example a type or null.
pub fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf"].into_iter().flat_map(|word| schema[word].as_array().into_iter().flatten())
}

/// What a schema says about itself; beside a null it is written inside the other choice.
pub fn description(schema: &Value) -> &str {
    let inside = || choices(schema).find_map(|choice| choice["description"].as_str());
    schema["description"].as_str().or_else(inside).unwrap_or_default()
}

/// The first type that is not null.
pub fn type_name(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or_default(),
        _ => "",
    }
}

pub fn is_nullable(schema: &Value) -> bool {
    schema["type"].as_array().is_some_and(|names| names.iter().any(|name| name == "null"))
        || choices(schema).any(|choice| choice["type"] == "null")
}

/// What a value has to keep to, in words: `1 to 200`, `at most 64 characters`.
pub fn bounds(schema: &Value) -> Option<String> {
    let range = |least: &Value, most: &Value| match (least.as_i64(), most.as_i64()) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    };
    let value = range(&schema["minimum"], &schema["maximum"]);
    let length = range(&schema["minLength"], &schema["maxLength"]).map(|length| format!("{length} characters"));
    let pattern = schema["pattern"].as_str().map(|pattern| format!("matches {pattern}"));
    let default = (!schema["default"].is_null()).then(|| format!("default {}", schema["default"]));
    let all: Vec<String> = [value, length, pattern, default].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({"components": {"schemas": {
            "Colour": {"type": "string", "enum": ["red", "blue"]},
            "Thing": {"allOf": [{"$ref": "#/components/schemas/Named"}, {"type": "object", "required": ["colour"], "properties": {
                "colour": {"$ref": "#/components/schemas/Colour"},
                "size": {"type": ["integer", "null"], "minimum": 1, "maximum": 9},
                "maybe": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Colour"}]},
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}
            }}]},
            "Named": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "example": "Ada"}}}
        }}})
    }

    #[test]
    fn fields_are_those_of_all_parts() {
        let document = document();
        let schemas = Schemas::of(&document);
        let thing = json!({"$ref": "#/components/schemas/Thing"});
        let fields: Vec<(&str, bool)> = schemas.fields(&thing).iter().map(|field| (field.name, field.required)).collect();
        assert_eq!(fields, [("name", true), ("colour", true), ("maybe", false), ("parts", false), ("size", false)]);
    }

    #[test]
    fn examples_fit_and_end() {
        let document = document();
        let schemas = Schemas::of(&document);
        let thing = json!({"$ref": "#/components/schemas/Thing"});
        let example = schemas.example(&thing);
        assert_eq!(
            (&example["name"], &example["colour"], &example["maybe"], &example["size"]),
            (&json!("Ada"), &json!("red"), &json!("red"), &json!(1))
        );
        assert_eq!(example["parts"][0]["name"], "Ada");
    }

    #[test]
    fn types_and_bounds_read_as_words() {
        let size = json!({"type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": 3});
        assert_eq!((type_name(&size), is_nullable(&size), bounds(&size).as_deref()), ("integer", true, Some("1 to 9, default 3")));
        assert_eq!(bounds(&json!({"type": "string", "maxLength": 5})).as_deref(), Some("at most 5 characters"));
        assert_eq!(bounds(&json!({"type": "string"})), None);
    }
}

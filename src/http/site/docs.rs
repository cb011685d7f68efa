//! The reference as one page: made from the OpenAPI document, without scripts or anything fetched from elsewhere.

use std::fmt::{self, Display, Write};

use serde_json::Value;

use super::schema::{Schemas, bounds, choices, description, is_nullable, reference, type_name};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const STYLE: &str = include_str!("docs.css");
const OVERVIEW: &str = include_str!("docs_overview.html");

/// The whole page.
pub fn page(document: &Value) -> String {
    let mut out = String::with_capacity(256 * 1024);
    // Writing to a string cannot fail.
    let _ = Page { document, schemas: Schemas::of(document) }.write(&mut out);
    out
}

struct Page<'a> {
    document: &'a Value,
    schemas: Schemas<'a>,
}

/// One method of one path.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn anchor(&self) -> String {
        anchor("operation", text(&self.value["operationId"]))
    }
}

impl<'a> Page<'a> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let info = &self.document["info"];
        let (title, version) = (Escaped(text(&info["title"])), Escaped(text(&info["version"])));
        write!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} API reference</title>")?;
        write!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head><body>")?;
        self.write_navigation(out)?;
        write!(out, "<main id=\"top\"><h1>{title} API reference <small>{version}</small></h1>")?;
        write_description(out, text(&info["description"]))?;
        out.push_str(OVERVIEW);
        for tag in self.tags() {
            self.write_tag(out, tag)?;
        }
        self.write_schemas(out)?;
        out.push_str("</main></body></html>\n");
        Ok(())
    }

    fn tags(&self) -> impl Iterator<Item = &'a Value> {
        self.document["tags"].as_array().into_iter().flatten()
    }

    fn operations(&self, tag: &str) -> impl Iterator<Item = Operation<'a>> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let all = paths
            .flat_map(|(path, item)| METHODS.iter().filter_map(move |method| Some(Operation { method, path, value: item.get(method)? })));
        all.filter(move |operation| operation.value["tags"][0] == tag)
    }

    fn write_navigation(&self, out: &mut String) -> fmt::Result {
        out.push_str("<nav aria-label=\"Contents\"><a href=\"#top\"><b>Overview</b></a>");
        for tag in self.tags() {
            let name = text(&tag["name"]);
            write!(out, "<details open><summary>{}</summary>", Escaped(name))?;
            for operation in self.operations(name) {
                let summary = Escaped(text(&operation.value["summary"]));
                write!(out, "<a href=\"#{}\"><span class=\"{m}\">{m}</span> {summary}</a>", operation.anchor(), m = operation.method)?;
            }
            out.push_str("</details>");
        }
        out.push_str("<a href=\"#schemas\"><b>Schemas</b></a><a href=\"/openapi.json\">openapi.json</a></nav>");
        Ok(())
    }

    fn write_tag(&self, out: &mut String, tag: &Value) -> fmt::Result {
        let name = text(&tag["name"]);
        write!(out, "<section><h2 id=\"{}\">{}</h2>", anchor("tag", name), Escaped(name))?;
        write_description(out, text(&tag["description"]))?;
        for operation in self.operations(name) {
            self.write_operation(out, &operation)?;
        }
        out.push_str("</section>");
        Ok(())
    }

    fn write_operation(&self, out: &mut String, operation: &Operation<'a>) -> fmt::Result {
        let value = operation.value;
        write!(out, "<article id=\"{}\"><h3>{}</h3>", operation.anchor(), Escaped(text(&value["summary"])))?;
        let (method, path) = (operation.method, Escaped(operation.path));
        write!(out, "<p class=\"route\"><span class=\"{method}\">{method}</span> <code>{path}</code></p>")?;
        write_description(out, text(&value["description"]))?;
        self.write_parameters(out, &value["parameters"])?;
        if let Some((kind, content)) = first_content(&value["requestBody"]) {
            write!(out, "<h4>Body <small>{}</small></h4>", Escaped(kind))?;
            write_description(out, text(&value["requestBody"]["description"]))?;
            self.write_content(out, content)?;
        }
        out.push_str("<h4>Answers</h4>");
        for (status, response) in value["responses"].as_object().into_iter().flatten() {
            self.write_response(out, status, response)?;
        }
        out.push_str("</article>");
        Ok(())
    }

    fn write_parameters(&self, out: &mut String, parameters: &'a Value) -> fmt::Result {
        let Some(parameters) = parameters.as_array().filter(|all| !all.is_empty()) else { return Ok(()) };
        out.push_str("<h4>Parameters</h4><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>");
        for parameter in parameters {
            let required = if parameter["required"] == true { " <em>required</em>" } else { "" };
            let (name, place) = (Escaped(text(&parameter["name"])), Escaped(text(&parameter["in"])));
            write!(out, "<tr><td><code>{name}</code>{required}</td><td>{place}</td><td>")?;
            self.write_type(out, &parameter["schema"])?;
            write!(out, "</td><td>{}", Inline(text(&parameter["description"])))?;
            write_bounds(out, &parameter["schema"])?;
            out.push_str("</td></tr>");
        }
        out.push_str("</table>");
        Ok(())
    }

    fn write_response(&self, out: &mut String, status: &str, response: &'a Value) -> fmt::Result {
        write!(out, "<p><b class=\"status\">{}</b> {}", Escaped(status), Inline(text(&response["description"])))?;
        let Some((kind, content)) = first_content(response) else {
            out.push_str("</p>");
            return Ok(());
        };
        if status.starts_with('2') {
            write!(out, " <small>{}</small></p>", Escaped(kind))?;
            return self.write_content(out, content);
        }
        out.push(' ');
        self.write_type(out, &content["schema"])?;
        out.push_str("</p>");
        Ok(())
    }

    /// Fields and an example of a body.
    fn write_content(&self, out: &mut String, content: &'a Value) -> fmt::Result {
        let schema = &content["schema"];
        if schema.is_null() {
            return Ok(());
        }
        if reference(schema).is_some() {
            out.push_str("<p>");
            self.write_type(out, schema)?;
            out.push_str("</p>");
        }
        self.write_fields(out, schema)?;
        let example = self.schemas.example(schema);
        if example.as_object().is_some_and(|members| !members.is_empty()) {
            let example = serde_json::to_string_pretty(&example).map_err(|_| fmt::Error)?;
            write!(out, "<details><summary>Example</summary><pre>{}</pre></details>", Escaped(&example))?;
        }
        Ok(())
    }

    fn write_fields(&self, out: &mut String, schema: &'a Value) -> fmt::Result {
        let fields = self.schemas.fields(schema);
        if fields.is_empty() {
            return Ok(());
        }
        out.push_str("<table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>");
        for field in fields {
            let required = if field.required { " <em>required</em>" } else { "" };
            write!(out, "<tr><td><code>{}</code>{required}</td><td>", Escaped(field.name))?;
            self.write_type(out, field.schema)?;
            write!(out, "</td><td>{}", Inline(description(field.schema)))?;
            write_bounds(out, field.schema)?;
            out.push_str("</td></tr>");
        }
        out.push_str("</table>");
        Ok(())
    }

    fn write_schemas(&self, out: &mut String) -> fmt::Result {
        out.push_str("<section><h2 id=\"schemas\">Schemas</h2>");
        for (name, schema) in self.schemas.iter() {
            let format = schema["format"].as_str().unwrap_or_else(|| type_name(schema));
            write!(out, "<article id=\"{}\"><h3>{} <small>{}</small></h3>", anchor("schema", name), Escaped(name), Escaped(format))?;
            write_description(out, text(&schema["description"]))?;
            self.write_fields(out, schema)?;
            if !schema["enum"].is_null() || !schema["oneOf"].is_null() {
                out.push_str("<ul>");
                for value in schema["enum"].as_array().into_iter().flatten() {
                    write!(out, "<li><code>{}</code></li>", Escaped(&value.to_string()))?;
                }
                for choice in choices(schema) {
                    out.push_str("<li>");
                    self.write_type(out, choice)?;
                    write!(out, " {}</li>", Inline(text(&choice["description"])))?;
                }
                out.push_str("</ul>");
            }
            out.push_str("</article>");
        }
        out.push_str("</section>");
        Ok(())
    }

    /// A type in words, linked where it has a name.
    fn write_type(&self, out: &mut String, schema: &Value) -> fmt::Result {
        if let Some(name) = reference(schema) {
            return write!(out, "<a href=\"#{}\">{}</a>", anchor("schema", name), Escaped(name));
        }
        let some: Vec<&Value> = choices(schema).filter(|choice| choice["type"] != "null").collect();
        if !some.is_empty() {
            for (index, choice) in some.into_iter().enumerate() {
                out.push_str(if index > 0 { " or " } else { "" });
                self.write_type(out, choice)?;
            }
        } else if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            write!(out, "{}", Escaped(&values.join(" | ")))?;
        } else if type_name(schema) == "array" {
            out.push_str("list of ");
            self.write_type(out, &schema["items"])?;
        } else {
            let name = if schema["format"] == "date-time" { "time" } else { type_name(schema) };
            write!(out, "{}", Escaped(if name.is_empty() { "any" } else { name }))?;
        }
        out.push_str(if is_nullable(schema) { " or null" } else { "" });
        Ok(())
    }
}

fn first_content(body: &Value) -> Option<(&str, &Value)> {
    body["content"].as_object()?.iter().next().map(|(kind, content)| (kind.as_str(), content))
}

fn write_bounds(out: &mut String, schema: &Value) -> fmt::Result {
    match bounds(schema) {
        Some(bounds) => write!(out, " <small>{}</small>", Escaped(&bounds)),
        None => Ok(()),
    }
}

fn write_description(out: &mut String, description: &str) -> fmt::Result {
    description
        .split("\n\n")
        .filter(|paragraph| !paragraph.is_empty())
        .try_for_each(|paragraph| write!(out, "<p>{}</p>", Inline(paragraph)))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An id that is safe in an attribute and in a link.
fn anchor(kind: &str, name: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    format!("{kind}-{}", name.chars().map(safe).collect::<String>())
}

/// Text that cannot become markup.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;"),
                '<' => formatter.write_str("&lt;"),
                '>' => formatter.write_str("&gt;"),
                '"' => formatter.write_str("&quot;"),
                '\'' => formatter.write_str("&#39;"),
                other => formatter.write_char(other),
            }?;
        }
        Ok(())
    }
}

/// Escaped text in which `…` between backticks is code.
struct Inline<'a>(&'a str);

impl Display for Inline<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> = self.0.split('`').collect();
        let is_paired = parts.len() % 2 == 1;
        for (index, part) in parts.iter().enumerate() {
            match (index % 2 == 1, is_paired) {
                (true, true) => write!(formatter, "<code>{}</code>", Escaped(part))?,
                (_, true) => write!(formatter, "{}", Escaped(part))?,
                (_, false) => write!(formatter, "{}{}", if index > 0 { "`" } else { "" }, Escaped(part))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::site::openapi;

    #[test]
    fn the_page_shows_every_route_and_schema_and_fetches_nothing() {
        let document = openapi::document();
        let page = page(&document);
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
            for method in item.as_object().unwrap().keys() {
                let id = item[method]["operationId"].as_str().unwrap();
                assert!(page.contains(&format!("<article id=\"{}\">", anchor("operation", id))), "{method} {path}");
            }
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("<article id=\"{}\">", anchor("schema", name))), "{name}");
        }
        for outside in ["<script", "src=", "@import", "url(", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        let page = page(&openapi::document());
        let targets = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
        for target in targets {
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }

    #[test]
    fn nothing_in_the_document_becomes_markup() {
        let evil = "<script>alert('x')</script>\"&";
        let document = json!({
            "info": {"title": evil, "version": evil, "description": evil},
            "tags": [{"name": evil, "description": evil}],
            "paths": {evil: {"get": {"operationId": evil, "summary": evil, "description": format!("`{evil}`"), "tags": [evil],
                "parameters": [{"name": evil, "in": evil, "description": evil, "schema": {"type": evil, "pattern": evil}}],
                "requestBody": {"content": {evil: {"schema": {"properties": {evil: {"type": "string", "example": evil}}}}}},
                "responses": {evil: {"description": evil}}}}},
            "components": {"schemas": {evil: {"type": "string", "enum": [evil]}}}
        });
        let page = page(&document);
        assert!(!page.contains("<script") && !page.contains("alert('x')"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    }

    #[test]
    fn backticks_are_code_when_they_pair() {
        assert_eq!(Inline("a `b<c` d").to_string(), "a <code>b&lt;c</code> d");
        assert_eq!(Inline("a ` b").to_string(), "a ` b");
        assert_eq!(Inline("plain").to_string(), "plain");
    }
}

//! Which methods a path knows, read from our own API document, for callers who use another.

use std::sync::LazyLock;

use serde_json::Value;

use super::openapi::document;

/// Paths of the document, `{…}` standing for any text without a slash, and their methods.
static PATHS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let document = document();
    let paths = document.get("paths").and_then(Value::as_object);
    let mut all: Vec<_> = paths
        .into_iter()
        .flatten()
        .map(|(path, item)| {
            let members = item.as_object().into_iter().flatten().map(|(name, _)| name.to_ascii_uppercase());
            let methods: Vec<String> = members.filter(|name| ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&name.as_str())).collect();
            (path.clone(), methods.join(", "))
        })
        .collect();
    // What is spelled out goes before what stands for anything.
    all.sort_by_key(|(path, _)| (path.contains('{'), !path.contains(':'), path.matches('{').count()));
    all
});

/// The methods of the route that this path belongs to; `None` when there is none.
pub fn methods_of(path: &str) -> Option<&'static str> {
    PATHS.iter().find(|(template, _)| fits(template, path)).map(|(_, methods)| methods.as_str())
}

fn fits(template: &str, path: &str) -> bool {
    let (mut templates, mut parts) = (template.split('/'), path.split('/'));
    loop {
        match (templates.next(), parts.next()) {
            (None, None) => return true,
            (Some(template), Some(part)) if part_fits(template, part) => {}
            _ => return false,
        }
    }
}

fn part_fits(template: &str, part: &str) -> bool {
    match template.split_once('{').zip(template.rsplit_once('}')) {
        None => template == part,
        Some(((before, _), (_, after))) => {
            part.len() > before.len() + after.len()
                && part.starts_with(before)
                && part.ends_with(after)
                // Gemini's routes name the operation behind the model.
                && (!template.contains(':') || part.contains(':'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_know_their_methods() {
        for (path, methods) in [
            ("/v1/audio/speech", "POST"),
            ("/v1/responses", "POST"),
            ("/v1beta/models/gemini-pro:generateContent", "POST"),
            ("/docs", "GET"),
        ] {
            assert_eq!(methods_of(path), Some(methods), "{path}");
        }
        for path in ["/v1/nothing", "/", "", "/v1/audio", "/v1/audio/speech/more"] {
            assert_eq!(methods_of(path), None, "{path}");
        }
        let keys = methods_of("/admin/v1/keys/key_1").unwrap();
        assert!(["GET", "PATCH", "DELETE"].iter().all(|method| keys.contains(method)), "{keys}");
    }
}

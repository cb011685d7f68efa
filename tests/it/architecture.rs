//! The tidy test: layers import downwards only, fenced crates stay behind their fence, files stay small, modules say what they hold.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the ground up. A layer may import itself and those of a lower number; equals do not know each other.
const LAYERS: [(&str, u8); 15] = [
    ("domain", 0),
    ("dialect", 1),
    ("clock", 2),
    ("config", 3),
    ("telemetry", 2),
    ("store", 4),
    ("upstream", 4),
    ("blobs", 4),
    ("mail", 4),
    ("actors", 5),
    ("identity", 5),
    ("pipeline", 6),
    ("control", 6),
    ("http", 7),
    ("app", 8),
];

/// Words that may stand in these layers only.
const FENCES: [(&str, &[&str]); 19] = [
    ("sea_orm::", &["store"]),
    ("object_store", &["blobs"]),
    // Telemetry exports traces with it, blobs speak to their bucket; calls to models are made in `upstream` only.
    ("hyper", &["upstream", "telemetry", "blobs"]),
    ("actix_web", &["http", "app"]),
    ("actix_ws", &["http"]),
    ("tungstenite", &["upstream"]),
    ("actix::", &["actors", "http", "app"]),
    ("governor", &["actors", "clock"]),
    ("openidconnect::", &["identity"]),
    ("oauth2::", &["identity"]),
    ("lettre", &["mail"]),
    ("askama", &["mail"]),
    ("std::env", &["config"]),
    // What runs over callers' texts is bounded in one place.
    ("aho_corasick::", &["domain"]),
    ("regex::", &["domain"]),
    ("regex_syntax::", &["domain"]),
    ("process::exit", &["app", "main"]),
    ("SystemTime", &["clock"]),
    ("spawn_local", &["actors", "upstream"]),
];

const FILE_LINES_MAX: usize = 700;

struct Source {
    /// Relative to the repository.
    path: PathBuf,
    text: String,
}

impl Source {
    /// First folder or file name below `src`.
    fn layer(&self) -> String {
        let inside = self.path.strip_prefix("src").expect("a file of ours");
        let first = inside.iter().next().expect("a name").to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Code lines with their numbers, without comments and without what only tests see.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let before_tests = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = before_tests.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        self.path.file_stem().is_some_and(|stem| stem == "tests") || self.path.iter().any(|part| part == "tests")
    }
}

fn sources(dir: &str) -> Vec<Source> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a text");
                found.push(Source { path: path.strip_prefix(root).expect("below the root").to_owned(), text });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, &root.join(dir), &mut found);
    assert!(!found.is_empty(), "{dir} has sources");
    found
}

fn rank(layer: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == layer).map(|(_, rank)| *rank)
}

#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Layers named after `crate::` in a line, also in `use crate::{a::X, b::Y}` opened on this line.
fn imported(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut group: Option<usize> = None;
    for (number, line) in source.code() {
        if let Some(depth) = group {
            // Inside `use crate::{`: names at the outermost level are layers.
            if depth == 1
                && let Some(name) = line.trim().split([':', ',', '{', ' ']).next()
            {
                found.push((number, name.trim_start_matches('}').to_owned()));
            }
            let opened = line.matches('{').count();
            let depth = (depth + opened).saturating_sub(line.matches('}').count());
            group = (depth > 0).then_some(depth);
            continue;
        }
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if let Some(inner) = rest.strip_prefix('{') {
                let opened = 1 + inner.matches('{').count();
                let depth = opened.saturating_sub(inner.matches('}').count());
                if depth > 0 {
                    group = Some(depth);
                }
                found.extend(outermost(inner).into_iter().map(|name| (number, name)));
            } else {
                let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                found.push((number, name));
            }
        }
    }
    found
}

/// First names of the entries of `a::X, b::{Y, Z}, c};` that lie outside inner braces.
fn outermost(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![String::new()];
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ if depth == 0 => names.last_mut().expect("never empty").push(letter),
            _ => {}
        }
    }
    names.iter().filter_map(|name| name.trim().split("::").next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn imports_go_down_only() {
    let mut complaints = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let layer = source.layer();
        let Some(own) = rank(&layer) else { continue };
        for (line, other) in imported(source) {
            let Some(its) = rank(&other) else { continue };
            if other != layer && its >= own {
                complaints.push(format!("{}:{line}: {layer} must not import {other}", source.path.display()));
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_import_finder_finds() {
    let text = "use crate::{\n    clock::Clock,\n    domain::{\n        Micros,\n        store,\n    },\n};\nuse crate::{app, http::x};\n// crate::actors\nlet x = crate::config::load();\n";
    let source = Source { path: PathBuf::from("src/domain/x.rs"), text: text.to_owned() };
    let names: Vec<String> = imported(&source).into_iter().map(|(_, name)| name).filter(|name| rank(name).is_some()).collect();
    assert_eq!(names, ["clock", "domain", "app", "http", "config"]);
}

#[test]
fn every_layer_is_known_and_there() {
    let known: Vec<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    let mut unknown: Vec<String> = sources("src").iter().map(Source::layer).filter(|layer| !known.contains(&layer.as_str())).collect();
    unknown.sort();
    unknown.dedup();
    assert_eq!(unknown, ["lib", "main"], "a new layer gets its place in LAYERS");
}

#[test]
fn fenced_words_stay_behind_their_fence() {
    let mut complaints = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let layer = source.layer();
        for (line, text) in source.code() {
            for (word, allowed) in FENCES {
                let found = text.match_indices(word).any(|(at, _)| {
                    let before = text[..at].chars().next_back();
                    before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_')
                });
                if found && !allowed.contains(&layer.as_str()) {
                    complaints.push(format!("{}:{line}: {word} belongs into {}", source.path.display(), allowed.join(", ")));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn files_are_small() {
    let all = ["src", "entities/src", "migration/src", "tests", "benches"];
    let present = all.iter().filter(|dir| Path::new(env!("CARGO_MANIFEST_DIR")).join(dir).exists());
    let complaints: Vec<String> = present
        .flat_map(|dir| sources(dir))
        .filter(|source| source.text.lines().count() > FILE_LINES_MAX)
        .map(|source| format!("{} has {} lines, more than {FILE_LINES_MAX}", source.path.display(), source.text.lines().count()))
        .collect();
    none(&complaints);
}

#[test]
fn every_module_file_says_what_lives_there() {
    let complaints: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|dir| sources(dir))
        .filter(|source| source.path.file_name().is_some_and(|name| name == "mod.rs") && !source.text.starts_with("//! "))
        .map(|source| format!("{} must begin with a //! doc", source.path.display()))
        .collect();
    none(&complaints);
}

#[test]
fn placeholders_do_not_stay() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        for (line, text) in source.code() {
            if ["todo!(", "unimplemented!(", "placeholder"].iter().any(|word| text.contains(word)) {
                complaints.push(format!("{}:{line}: {}", source.path.display(), text.trim()));
            }
        }
    }
    none(&complaints);
}

/// Crates that the two lowest layers use and the fuzz targets, which are built from them alone, have to name, too.
#[test]
fn the_fuzz_targets_have_the_crates_they_need() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a manifest");
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).expect("a manifest");
    let fuzz: toml::Table = toml::from_str(&read("fuzz/Cargo.toml")).expect("a manifest");
    let needed = sources("src").into_iter().filter(|source| ["domain", "dialect"].contains(&source.layer().as_str()) && !source.is_test());
    let code: Vec<Source> = needed.collect();
    let is_used = |name: &str| {
        let path = format!("{}::", name.replace('-', "_"));
        code.iter().any(|source| source.code().any(|(_, line)| line.contains(&path)))
    };
    let dependencies = manifest["dependencies"].as_table().expect("a table");
    let complaints: Vec<String> = dependencies
        .keys()
        .filter(|name| is_used(name) && fuzz["dependencies"].get(name.as_str()).is_none())
        .map(|name| format!("fuzz/Cargo.toml lacks {name}"))
        .collect();
    none(&complaints);
}

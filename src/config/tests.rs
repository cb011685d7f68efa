//! Files and environments as operators write them, and what `load` makes of them.

use super::*;
use crate::telemetry::{logging::LogFormat, redact::Secret};

fn load_from(file: &str, env: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pixgate.toml");
    std::fs::write(&path, file).unwrap();
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    load(&Sources { path: Some(path), env }).map_err(|problems| problems.0.iter().map(Problem::to_string).collect())
}

fn settings(file: &str, env: &[(&str, &str)]) -> Settings {
    load_from(file, env).unwrap().settings
}

fn problems(file: &str, env: &[(&str, &str)]) -> Vec<String> {
    load_from(file, env).unwrap_err()
}

#[test]
fn nothing_given_means_the_defaults() {
    assert_eq!(load(&Sources::default()).unwrap(), Loaded { settings: Settings::default(), notes: Vec::new() });
    assert_eq!(
        settings("", &[("PATH", "/bin"), ("PIXGATE_TEST_POSTGRES", "x"), ("PIXGATE_PORT", "tcp://10.0.0.1:80")]),
        Settings::default()
    );
}

#[test]
fn the_file_is_overridden_by_aliases_and_those_by_our_variables() {
    let file = "[database]\nurl = 'postgres://file'\n[server]\nlisten = '0.0.0.0:1'\nworkers = 3\n[telemetry]\nlog_format = 'json'";
    let url = |env: &[(&str, &str)]| settings(file, env).database.url.unwrap().expose().to_owned();
    assert_eq!(url(&[]), "postgres://file");
    assert_eq!(url(&[("DATABASE_URL", "postgres://alias")]), "postgres://alias");
    assert_eq!(url(&[("DATABASE_URL", "")]), "postgres://file");
    assert_eq!(url(&[("PIXGATE_DATABASE__URL", "postgres://ours"), ("DATABASE_URL", "postgres://alias")]), "postgres://ours");

    let listen = |env: &[(&str, &str)]| settings(file, env).server.listen.to_string();
    assert_eq!(listen(&[("PORT", "99")]), "0.0.0.0:99");
    assert_eq!(listen(&[("PIXGATE_SERVER__LISTEN", "[::1]:5"), ("PORT", "99")]), "[::1]:5");
    assert_eq!(settings("", &[("PORT", "99")]).server.listen.to_string(), "127.0.0.1:99");
    assert_eq!((settings(file, &[]).server.workers, settings(file, &[]).telemetry.log_format), (3, LogFormat::Json));
}

#[test]
fn variables_are_read_by_the_type_of_their_setting() {
    let env = [
        ("PIXGATE_SECURITY__KEY_PEPPER", "0123456789"),
        ("PIXGATE_SECURITY__REQUIRE_VERIFIED_EMAIL", "False"),
        ("PIXGATE_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, ::1/128"),
        ("PIXGATE_LIMITS__ACCOUNT__RPM", "7"),
        ("PIXGATE_LEDGER__DURABILITY", "power"),
    ];
    let settings = settings("", &env);
    assert_eq!(settings.security.key_pepper, Some(Secret::new("0123456789")));
    assert!(!settings.security.require_verified_email);
    assert_eq!(settings.server.trusted_proxies.len(), 2);
    assert_eq!((settings.limits.account.rpm, settings.ledger.durability), (7, Durability::Power));
}

#[test]
fn every_problem_is_named_at_once() {
    let file = "[server]\nlisten = 'nowhere'\nworkers = 'many'\nlisen = 1\n[redis]\nurl = 5\n[servers]\na = 1\n";
    let env = [
        ("PIXGATE_SERVER__DRAIN_SECONDS", "soon"),
        ("PIXGATE_SERVER_MAX_BODY_BYTES", "1"),
        ("PIXGATE_PAYMENTS__STRIPE__SECRET_KEY", ""),
        ("PIXGATE_LEDGER__LEASE_TTL_SECONDS", "0"),
        ("PIXGATE_BOOTSTRAP__ADMIN_KEY", "too-short"),
        ("PIXGATE_SERVER__TLS_KEY", "key.pem"),
        ("PORT", "http"),
    ];
    let mut found = problems(file, &env);
    found.sort();
    assert_eq!(
        found,
        [
            "PIXGATE_BOOTSTRAP__ADMIN_KEY: must have at least 24 characters",
            "PIXGATE_LEDGER__LEASE_TTL_SECONDS: must be between 1 and 86400, not 0",
            "PIXGATE_PAYMENTS__STRIPE__SECRET_KEY: is empty; give it a value or leave it out",
            "PIXGATE_SERVER_MAX_BODY_BYTES: unknown setting; did you mean PIXGATE_SERVER__MAX_BODY_BYTES?",
            "PIXGATE_SERVER__DRAIN_SECONDS: must be a whole number, not \"soon\"",
            "PIXGATE_SERVER__TLS_KEY: needs server.tls_cert as well",
            "PORT: must be a port number, not 'http'",
            "redis.url: must be a text",
            "server.lisen: unknown setting; did you mean server.listen?",
            "server.listen: must be an IP address and a port such as 127.0.0.1:8080, not \"nowhere\"",
            "server.workers: must be a whole number, not \"many\"",
            "servers: unknown setting",
        ]
    );
}

#[test]
fn contradictions_are_named_by_the_name_the_operator_used() {
    for (file, env, expected) in [
        ("[server]\ntls_cert = 'a'", None, "server.tls_cert: needs server.tls_key"),
        ("[oauth.google]\nclient_id = 'a'", None, "oauth.google.client_id: needs oauth.google.client_secret as well"),
        ("[oauth.github]\nclient_secret = 'a'", None, "oauth.github.client_secret: needs oauth.github.client_id as well"),
        ("[oauth.github]\napi_url = 'api.github.com'", None, "oauth.github.api_url: must be a URL that begins"),
        ("[server]\npublic_url = 'pix.example'", None, "server.public_url: must be a URL that begins with http:// or https://"),
        ("", Some(("OPENAI_BASE_URL", "ftp://a/v1")), "OPENAI_BASE_URL: must be a URL that begins"),
        ("", Some(("GROQ_BASE_URL", "here")), "GROQ_BASE_URL: must be a URL that begins"),
        ("", Some(("PIXGATE_OPENAI__BASE_URL", "http://me:pw@host/v1")), "PIXGATE_OPENAI__BASE_URL: must have neither credentials"),
        ("", Some(("DATABASE_URL", "mysql://a")), "DATABASE_URL: must begin with sqlite:// or postgres://"),
        ("[ledger]\nlease_ttl_seconds = 5\ncommit_timeout_ms = 5000", None, "ledger.commit_timeout_ms: must be shorter than"),
        ("[telemetry]\nlog_filter = 'pixgate=loud'", None, "telemetry.log_filter: error parsing level filter"),
        ("[telemetry]\notlp_endpoint = 'https://a:4318'", None, "telemetry.otlp_endpoint: must be a URL that begins with http://"),
        ("[mail]\nfrom = 'a@b.example'", Some(("PIXGATE_MAIL__SMTP_URL", "http://a")), "PIXGATE_MAIL__SMTP_URL: must be a URL that begins"),
        ("", Some(("PIXGATE_MAIL__SMTP_URL", "smtp://a")), "mail.from: is needed with mail.smtp_url"),
        ("server = 3", None, "server: is a section"),
        ("[database]\nurl = {a = 1}", None, "database.url: must be a text"),
    ] {
        let found = problems(file, &env.into_iter().collect::<Vec<_>>());
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?} does not begin with {expected}");
    }
}

#[test]
fn a_missing_or_broken_file_is_a_problem() {
    let missing = load(&Sources { path: Some("/nowhere/pixgate.toml".into()), env: Vec::new() }).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/pixgate.toml: cannot be read"), "{missing}");
    assert!(problems("[server", &[])[0].contains("is not valid TOML"));
}

#[test]
fn what_has_no_effect_is_noted() {
    let env = [("PIXGATE_RENDER__ALLOW_REDUCED_SANDBOX", "true"), ("GEMINI_API_KEY", ""), ("REDIS_URL", "redis://a")];
    let notes = load_from("[render.assets]\nallow_http = true", &env).unwrap().notes;
    assert_eq!(notes.len(), 3, "{notes:?}");
    for name in ["PIXGATE_RENDER__ALLOW_REDUCED_SANDBOX", "render.assets.allow_http", "redis.url"] {
        assert!(notes.iter().any(|note| note.starts_with(name)), "{name} is missing in {notes:?}");
    }
}

#[test]
fn providers_are_seeded_by_their_aliases() {
    let seeds = |env: &[(&str, &str)]| settings("[mistral]\napi_key = 'm'", env).providers.seeds().collect::<Vec<_>>();
    let seed = |name, base_url: Option<&str>, key: Option<&str>| ProviderSeed {
        name,
        base_url: base_url.map(str::to_owned),
        api_key: key.map(Secret::new),
    };
    let mistral = || seed("mistral", None, Some("m"));
    assert_eq!(seeds(&[("GEMINI_API_KEY", ""), ("ACME_API_KEY", "x")]), [mistral()]);
    let env = [("OPENAI_API_KEY", "sk-1"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/"), ("ANTHROPIC_API_KEY", "sk-2")];
    let openai = seed("openai", Some("http://127.0.0.1:9/v1"), Some("sk-1"));
    assert_eq!(seeds(&env), [openai, seed("anthropic", None, Some("sk-2")), mistral()]);
    let ours = [("PIXGATE_MISTRAL__API_KEY", "ours"), ("MISTRAL_API_KEY", "alias"), ("OLLAMA_BASE_URL", "http://a:1/v1")];
    assert_eq!(seeds(&ours), [seed("mistral", None, Some("ours")), seed("ollama", Some("http://a:1/v1"), None)]);
}

#[test]
fn secrets_are_in_no_message_and_no_debug_output() {
    let found = problems("[security]\nkey_pepper = 4711\n", &[("PIXGATE_BOOTSTRAP__ADMIN_KEY", "hunter2 hunter2")]);
    assert!(!found.join("\n").contains("4711") && !found.join("\n").contains("hunter2"), "{found:?}");
    let shown = format!("{:?}", settings("", &[("DATABASE_URL", "postgres://u:hunter2@h/d"), ("OPENAI_API_KEY", "hunter2")]));
    assert!(!shown.contains("hunter2"), "{shown}");
}

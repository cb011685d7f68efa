//! What single values cannot tell: settings that contradict each other, and texts with a grammar of their own.

use http::Uri;

use super::{
    mail::{SmtpAddress, Tls},
    secrets,
    settings::Settings,
    source::Problem,
};
use crate::{
    domain::key_hash::PEPPERS_MAX,
    telemetry::{logging, redact::Secret},
};

const ADMIN_KEY_CHARS_MIN: usize = 24;
const PEPPER_CHARS_ADVISED: usize = 32;

/// Every contradiction. `label` gives the name under which the operator set something.
pub fn contradictions(settings: &Settings, label: impl Fn(&str) -> String) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut expect = |holds: bool, name: &str, message: String| {
        if !holds {
            problems.push(Problem::new(label(name), message));
        }
    };

    let server = &settings.server;
    expect(server.tls_cert.is_some() || server.tls_key.is_none(), "server.tls_key", "needs server.tls_cert as well".to_owned());
    expect(server.tls_key.is_some() || server.tls_cert.is_none(), "server.tls_cert", "needs server.tls_key as well".to_owned());

    for (name, url, schemes) in [
        ("server.public_url", &server.public_url, &["http", "https"][..]),
        // The exporter speaks plain HTTP to a collector nearby; the collector forwards over TLS.
        ("telemetry.otlp_endpoint", &settings.telemetry.otlp_endpoint, &["http"]),
        ("secret_scanning.public_keys_url", &settings.secret_scanning.public_keys_url, &["http", "https"]),
    ] {
        if let Some(Err(message)) = url.as_ref().map(|url| check_url(url, schemes)) {
            expect(false, name, message);
        }
    }

    for (name, access) in settings.providers.all() {
        if let Some(Err(message)) = access.base_url.as_ref().map(|url| check_url(url, &["http", "https"])) {
            expect(false, &format!("{name}.base_url"), message);
        }
    }

    let (google, github) = (&settings.oauth.google, &settings.oauth.github);
    for (name, url) in
        [("oauth.google.issuer", &google.issuer), ("oauth.github.base_url", &github.base_url), ("oauth.github.api_url", &github.api_url)]
    {
        if let Err(message) = check_url(url, &["http", "https"]) {
            expect(false, name, message);
        }
    }
    for (name, id, secret) in
        [("oauth.google", &google.client_id, &google.client_secret), ("oauth.github", &github.client_id, &github.client_secret)]
    {
        expect(id.is_none() || secret.is_some(), &format!("{name}.client_id"), format!("needs {name}.client_secret as well"));
        expect(secret.is_none() || id.is_some(), &format!("{name}.client_secret"), format!("needs {name}.client_id as well"));
    }

    let has_scheme = |url: &Option<Secret>, schemes: &[&str]| {
        url.as_ref().is_none_or(|url| schemes.iter().any(|scheme| url.expose().split_once("://").is_some_and(|(have, _)| have == *scheme)))
    };
    let database = &settings.database;
    expect(
        has_scheme(&database.url, &["sqlite", "postgres", "postgresql"]),
        "database.url",
        "must begin with sqlite:// or postgres://".to_owned(),
    );
    expect(has_scheme(&settings.redis.url, &["redis", "rediss"]), "redis.url", "must begin with redis:// or rediss://".to_owned());

    let blobs = &settings.blobs;
    let names_bucket = blobs.bucket().is_some_and(|(bucket, _)| !bucket.is_empty());
    expect(blobs.url.is_none() || names_bucket, "blobs.url", "must be s3://BUCKET or s3://BUCKET/PREFIX".to_owned());
    if names_bucket {
        let needed = "is needed as well, because blobs.url names a bucket";
        expect(blobs.access_key_id.as_deref().is_some_and(|id| !id.is_empty()), "blobs.access_key_id", needed.to_owned());
        expect(
            blobs.secret_access_key.as_ref().is_some_and(|secret| !secret.expose().is_empty()),
            "blobs.secret_access_key",
            needed.to_owned(),
        );
    }
    if let Some(Err(message)) = blobs.endpoint.as_ref().map(|url| check_url(url, &["http", "https"])) {
        expect(false, "blobs.endpoint", message);
    }

    let is_address = |text: &str| {
        let is_visible = text.chars().all(|letter| letter.is_ascii_graphic());
        is_visible && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
    };
    expect(
        settings.tickets.staff_email.as_deref().is_none_or(is_address),
        "tickets.staff_email",
        "must be a mail address such as support@example.com".to_owned(),
    );

    let ledger = &settings.ledger;
    expect(
        ledger.commit_timeout_ms() < ledger.lease_ttl_seconds.saturating_mul(1000),
        "ledger.commit_timeout_ms",
        format!(
            "must be shorter than ledger.lease_ttl_seconds ({} s), or leases end before their captures are durable",
            ledger.lease_ttl_seconds
        ),
    );
    let security = &settings.security;
    if let Err(message) = check_peppers(&security.previous_key_peppers, security.key_pepper_version) {
        expect(false, "security.previous_key_peppers", message);
    }

    if let Some(key) = &settings.bootstrap.admin_key {
        let key = key.expose();
        let fits = key.chars().count() >= ADMIN_KEY_CHARS_MIN;
        expect(fits, "bootstrap.admin_key", format!("must have at least {ADMIN_KEY_CHARS_MIN} characters"));
        let printable = key.bytes().all(|byte| byte.is_ascii_graphic());
        expect(printable, "bootstrap.admin_key", "must consist of printable ASCII characters without spaces".to_owned());
    }

    if let Some(url) = &settings.mail.smtp_url {
        if let Err(message) = SmtpAddress::parse(url) {
            expect(false, "mail.smtp_url", message);
        }
        let from = "is needed with mail.smtp_url: the sender of all mails, for example pixgate@example.com";
        expect(settings.mail.from.is_some(), "mail.from", from.to_owned());
    }

    if let Err(message) = logging::check_filter(&settings.telemetry.log_filter) {
        expect(false, "telemetry.log_filter", message);
    }
    problems
}

/// What works and still deserves a word.
pub fn notes(settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    if settings.redis.url.is_some() {
        notes.push("redis.url has no effect: coordination of several nodes through Redis is not part of this version".to_owned());
    }
    let smtp = settings.mail.smtp_url.as_ref().and_then(|url| SmtpAddress::parse(url).ok());
    if smtp.is_some_and(|smtp| smtp.tls == Tls::Off && smtp.credentials.is_some() && !smtp.is_loopback()) {
        notes.push("mail.smtp_url says tls=none, so its password and all links in mails travel unencrypted".to_owned());
    }
    let oauth = &settings.oauth;
    for (name, url, on) in [
        ("oauth.google.issuer", &oauth.google.issuer, oauth.google.client_id.is_some()),
        ("oauth.github.base_url", &oauth.github.base_url, oauth.github.client_id.is_some()),
        ("oauth.github.api_url", &oauth.github.api_url, oauth.github.client_id.is_some()),
    ] {
        if on && url.starts_with("http://") {
            notes.push(format!("{name} begins with http://, so codes, tokens and the client secret travel unencrypted"));
        }
    }
    let short = |secret: &Option<Secret>| secret.as_ref().is_some_and(|secret| secret.expose().chars().count() < PEPPER_CHARS_ADVISED);
    for (name, secret) in
        [("security.key_pepper", &settings.security.key_pepper), ("security.upstream_key", &settings.security.upstream_key)]
    {
        if short(secret) {
            notes.push(format!("{name} is short; use {PEPPER_CHARS_ADVISED} random characters or more"));
        }
    }
    notes
}

fn check_peppers(previous: &[Secret], current_version: u32) -> Result<(), String> {
    const PREVIOUS_MAX: usize = PEPPERS_MAX - 1;
    if previous.len() > PREVIOUS_MAX {
        return Err(format!("has {} peppers; at most {PREVIOUS_MAX} are possible, because each costs a hash per call", previous.len()));
    }
    let mut versions = vec![i32::try_from(current_version).unwrap_or(i32::MAX)];
    for pepper in previous {
        let Some((version, _)) = secrets::parse_pepper(pepper.expose()) else {
            return Err("must consist of entries VERSION:PEPPER, with a whole number from 1 on".to_owned());
        };
        if versions.contains(&version) {
            return Err(format!("has version {version} twice, security.key_pepper_version included"));
        }
        versions.push(version);
    }
    Ok(())
}

fn check_url(url: &str, schemes: &[&str]) -> Result<(), String> {
    let parsed: Uri = url.parse().map_err(|error| format!("is not a URL: {error}"))?;
    let known = parsed.scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
    let host = parsed.host().is_some_and(|host| !host.is_empty());
    if !known || !host {
        let shown: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        return Err(format!("must be a URL that begins with {}", shown.join(" or ")));
    }
    let credentials = parsed.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if credentials || parsed.query().is_some() {
        return Err("must have neither credentials nor a query".to_owned());
    }
    Ok(())
}

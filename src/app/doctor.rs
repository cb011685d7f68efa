//! Checks everything a node depends on and prints a table.
#![expect(clippy::print_stdout, reason = "a command that prints")]

use std::{process::ExitCode, sync::Arc};

use super::node::open_database;
use crate::{
    clock::Clock,
    config::{Settings, secrets},
    domain::identity::IdentityProvider,
    identity::{IdentityProviders, Marks},
    mail::smtp::Smtp,
    store::{self, Db, seal::Sealer},
    telemetry::redact::Secret,
    upstream::{ApiKey, Connector, Target},
};

struct Finding {
    what: String,
    /// `None` when there was nothing to check.
    fine: Option<bool>,
    says: String,
}

impl Finding {
    fn new(what: impl Into<String>, outcome: Result<String, String>) -> Self {
        let (fine, says) = match outcome {
            Ok(says) => (true, says),
            Err(says) => (false, says),
        };
        Self { what: what.into(), fine: Some(fine), says }
    }

    fn skipped(what: &str, says: &str) -> Self {
        Self { what: what.to_owned(), fine: None, says: says.to_owned() }
    }
}

pub async fn run(settings: &Settings) -> ExitCode {
    let mut findings = vec![Finding::new("data folder", data_folder(settings))];
    match open_database(settings).await {
        Err(error) => findings.push(Finding::new("database", Err(error.to_string()))),
        Ok(db) => {
            let pending = db.pending_migrations().await;
            let ready = pending.as_ref().is_ok_and(Vec::is_empty);
            findings.push(Finding::new(
                "database",
                match pending {
                    Ok(pending) if pending.is_empty() => Ok(format!("{:?}, schema up to date", db.engine())),
                    Ok(pending) => Ok(format!("{:?}; `pixgate migrate` or the next start applies {}", db.engine(), pending.join(", "))),
                    Err(error) => Err(error.to_string()),
                },
            ));
            if ready {
                findings.push(ledger(&db).await);
                findings.push(Finding::new("keys", key_storage(settings, &db).await));
                upstreams(settings, &db, &mut findings).await;
            }
        }
    }
    findings.push(match settings.redis.url {
        Some(_) => Finding::skipped("redis", "set, but this version coordinates through the database only"),
        None => Finding::skipped("redis", "not configured"),
    });
    findings.push(mail_server(settings).await);
    findings.push(sign_in(settings).await);
    print(&findings);
    if findings.iter().any(|finding| finding.fine == Some(false)) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn data_folder(settings: &Settings) -> Result<String, String> {
    let folder = &settings.server.data_dir;
    match secrets::lock_data_dir(folder) {
        Ok(_) => Ok(format!("{} is writable", folder.display())),
        Err(secrets::SecretsError::InUse(_)) => Ok(format!("{} is in use by a running pixgate", folder.display())),
        Err(error) => Err(error.to_string()),
    }
}

async fn mail_server(settings: &Settings) -> Finding {
    match Smtp::of(&settings.mail) {
        Ok(None) => Finding::skipped("mail server", "not configured; mails are kept and their links printed"),
        Ok(Some(smtp)) => {
            let outcome = smtp.probe().await.map(|()| "takes mails".to_owned());
            Finding::new(format!("mail server {}", smtp.address()), outcome)
        }
        Err(message) => Finding::new("mail server", Err(message)),
    }
}

/// Whether people can be sent to the providers that they may sign in with. GitHub cannot be asked anything without a person.
async fn sign_in(settings: &Settings) -> Finding {
    const WHAT: &str = "sign-in";
    let clock = Clock::system();
    let providers = IdentityProviders::new(&settings.oauth, &settings.public_url(), &clock);
    let (providers, connector) = match providers.and_then(|providers| Ok((providers, Connector::new(clock)?))) {
        Ok(parts) => parts,
        Err(message) => return Finding::new(WHAT, Err(message)),
    };
    let configured: Vec<&str> = providers.configured().into_iter().map(IdentityProvider::title).collect();
    if configured.is_empty() {
        return Finding::skipped(WHAT, "by password only; no provider is configured");
    }
    if !providers.has(IdentityProvider::Google) {
        return Finding::new(WHAT, Ok(format!("with {}", configured.join(" and "))));
    }
    let blank = || Secret::new("doctor");
    let marks = Marks { state: blank(), nonce: blank(), verifier: blank() };
    let asked = providers.authorize_url(&connector, IdentityProvider::Google, &marks).await;
    Finding::new(WHAT, asked.map(|_| format!("with {}", configured.join(" and "))).map_err(|failure| failure.to_string()))
}

async fn ledger(db: &Db) -> Finding {
    let outcome = match store::ledger::check(db).await {
        Ok(check) if check.differences.is_empty() => Ok(format!("{} sums of wallets and grants add up", check.checked)),
        Ok(check) => Err(format!("{} differences; see GET /admin/v1/ledger/check", check.differences.len())),
        Err(error) => Err(error.to_string()),
    };
    Finding::new("ledger", outcome)
}

/// Whether every key can be verified, and none is kept as a text.
async fn key_storage(settings: &Settings, db: &Db) -> Result<String, String> {
    let kept = store::keys::count_by_pepper(db).await.map_err(|error| error.to_string())?;
    let texts = store::legacy::count(db).await.map_err(|error| error.to_string())?;
    if texts > 0 {
        return Err(format!("{texts} keys of an older schema are kept as text; `pixgate keys migrate-legacy` hashes them"));
    }
    let secrets = secrets::load_or_create(&settings.server.data_dir, settings).map_err(|error| error.to_string())?;
    let known = |version: i32| secrets.pepper.version == version || secrets.former_peppers.iter().any(|pepper| pepper.version == version);
    if let Some((version, keys)) = kept.iter().find(|(version, _)| !known(*version)) {
        return Err(format!("{keys} keys are kept under pepper {version}, which is not configured; see security.previous_key_peppers"));
    }
    let parts: Vec<String> = kept.iter().map(|(version, keys)| format!("{keys} under pepper {version}")).collect();
    Ok(if parts.is_empty() { "none yet".to_owned() } else { parts.join(", ") })
}

async fn upstreams(settings: &Settings, db: &Db, findings: &mut Vec<Finding>) {
    let clock = Clock::system();
    let setup = secrets::load_or_create(&settings.server.data_dir, settings)
        .map_err(|error| error.to_string())
        .and_then(|secrets| Sealer::new(&secrets.sealing_key).map_err(|error| error.to_string()))
        .and_then(|sealer| Ok((sealer, Connector::new(clock)?)));
    let (sealer, connector) = match setup {
        Ok(setup) => setup,
        Err(error) => return findings.push(Finding::new("upstreams", Err(error))),
    };
    let catalog = match store::catalog::load_all(db).await {
        Ok(catalog) => catalog,
        Err(error) => return findings.push(Finding::new("upstreams", Err(error.to_string()))),
    };
    for upstream in catalog.upstreams.into_iter().filter(|upstream| upstream.enabled) {
        let what = format!("upstream {}", upstream.name);
        let keys = match store::catalog::open_keys(&sealer, &upstream) {
            Ok(keys) => keys,
            Err(error) => {
                findings.push(Finding::new(what, Err(error.to_string())));
                continue;
            }
        };
        let target = Target::new(&upstream, keys.into_iter().map(ApiKey::from).collect());
        let probe = connector.provider(&Arc::new(target)).probe().await;
        findings.push(Finding::new(what, probe.map(|micros| format!("answers in {micros} µs")).map_err(|failure| failure.to_string())));
    }
}

fn print(findings: &[Finding]) {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    for Finding { what, fine, says } in findings {
        let mark = match fine {
            Some(true) => "ok",
            Some(false) => "FAIL",
            None => "-",
        };
        println!("{mark:<5} {what:<width$}  {says}");
    }
}

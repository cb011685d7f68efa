//! Commands about keys: those of a former gateway, and the pepper.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these are commands")]

use std::{fs::File, path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::{
    StartError,
    node::{self, Node, Role},
};
use crate::{
    actors::legacy_keys::Pass,
    clock::Clock,
    config::{
        Settings,
        secrets::{self, SecretsError},
    },
    control::{
        ControlError,
        legacy::{self, Report},
    },
    store,
};

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Take over the keys in a CSV file with the columns email, title, key
    ///
    /// Owners that are unknown are created, verified. May be repeated: keys that were taken over before stay as they are. Exit code 1
    /// when rows were bad.
    ImportLegacy { file: PathBuf },
    /// Hash the keys that an older schema kept as text, and wipe every trace of their texts from the database's files
    ///
    /// A node does the same when it starts. Exit code 1 when rows cannot be used.
    MigrateLegacy {
        /// Revoke the rows that cannot be used, and take their texts away
        #[arg(long)]
        discard_unusable: bool,
    },
    /// Make a new pepper and keep the old one, under which keys go on working until each was used once
    RotatePepper,
}

pub async fn run(settings: &Settings, command: KeysCommand) -> Result<ExitCode, StartError> {
    match command {
        KeysCommand::ImportLegacy { file } => {
            let open = File::open(&file).map_err(|error| StartError::Internal(format!("{} cannot be read: {error}", file.display())))?;
            let node = Node::build(settings, Clock::system(), Role::Maintain).await?;
            let outcome = legacy::import(&node.control()?, open, |report| eprintln!("{}", summary(report))).await;
            node.close().await;
            let report = outcome.map_err(|error| match error {
                ControlError::Invalid { message, .. } => StartError::Internal(format!("{}: {message}", file.display())),
                error => error.into(),
            })?;
            Ok(print_import(&report))
        }
        KeysCommand::MigrateLegacy { discard_unusable } => {
            let node = Node::build(settings, Clock::system(), Role::Maintain).await?;
            let outcome = migrate(&node, discard_unusable).await;
            node.close().await;
            outcome
        }
        KeysCommand::RotatePepper => rotate_pepper(settings).await,
    }
}

fn summary(report: &Report) -> String {
    let Report { rows, imported, weak, known, accounts_created, bad_count, .. } = report;
    format!("{rows} rows: {imported} imported ({weak} weak), {known} known already, {bad_count} bad; {accounts_created} accounts created")
}

fn print_import(report: &Report) -> ExitCode {
    for bad in &report.bad {
        eprintln!("line {}: {}", bad.line, bad.why);
    }
    println!("{}", summary(report));
    if report.bad_count == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("pixgate: {} rows were not imported; correct them and import the file again, the others stay as they are", report.bad_count);
    ExitCode::FAILURE
}

async fn migrate(node: &Node, discard: bool) -> Result<ExitCode, StartError> {
    let tools = &node.parts.legacy_tools;
    let pass = tools.pass(|pass| eprintln!("{} of {} rows: {} hashed", pass.seen, pass.total, pass.hashed)).await?;
    if discard {
        tools.discard(&pass.left).await?;
    }
    let Pass { total, hashed, weak, left, .. } = &pass;
    for row in left {
        eprintln!("{}: {}", row.key_id, row.why);
    }
    println!("{total} rows: {hashed} hashed ({weak} weak), {} {}", left.len(), if discard { "revoked" } else { "cannot be used" });
    if store::legacy::must_wipe(&tools.db).await? {
        match store::legacy::wipe(&tools.db).await {
            Ok(()) => println!("no file of the database holds a text of these keys any more"),
            Err(error) => {
                eprintln!("pixgate: the keys are hashed, but traces of their texts may be left in the database's files: {error}");
                eprintln!("pixgate: run this command again, best while no node uses the database");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    if left.is_empty() || discard {
        return Ok(ExitCode::SUCCESS);
    }
    let count = left.len();
    eprintln!("pixgate: {count} rows still hold a text; correct them in the database, or revoke them with --discard-unusable");
    Ok(ExitCode::FAILURE)
}

async fn rotate_pepper(settings: &Settings) -> Result<ExitCode, StartError> {
    let db = node::open_database(settings).await?;
    db.migrate().await?;
    let kept = store::keys::count_by_pepper(&db).await?;
    db.close().await?;
    let is_needed = |version: i32| kept.iter().any(|(kept, _)| *kept == version);
    let version = secrets::rotate_pepper(&settings.server.data_dir, settings, is_needed).map_err(|error| match error {
        error @ SecretsError::PepperIsASetting => StartError::Settings(error.to_string()),
        error => error.into(),
    })?;
    println!("made pepper {version}; nodes use it from their next start on");
    let keys: i64 = kept.iter().map(|(_, keys)| keys).sum();
    println!("{keys} keys are kept under former peppers and work on; each is hashed anew when it is used");
    println!("browsers are signed out by that start, and links in mails that were sent before stop working");
    Ok(ExitCode::SUCCESS)
}

//! The importers as commands.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{
    StartError,
    node::{Node, Role},
};
use crate::{
    clock::Clock,
    config::{self, Settings},
    control::import::{self, Report},
    store::{StoreError, foreign_one_api},
};

/// What to import.
#[derive(Subcommand)]
pub enum From {
    /// Upstreams and models of a LiteLLM proxy's config.yaml
    LitellmConfig {
        file: PathBuf,
        /// Say what would be made, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Accounts, credits, keys, upstreams and models of one-api's or new-api's SQLite database
    OneApi {
        database: PathBuf,
        /// Tells the users of several imported databases apart
        #[arg(long, default_value = "one-api")]
        name: String,
        /// Say what would be made, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Imports, and answers with the report.
pub async fn run(settings: &Settings, from: &From) -> Result<String, StartError> {
    // What is to be read is looked at before anything of ours is opened.
    match from {
        From::LitellmConfig { file, dry_run } => {
            let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
            let node = Node::build(settings, Clock::system(), Role::Maintain).await?;
            let outcome = import::litellm::import(&node.control()?, &text, config::variable, *dry_run).await;
            finish(&node, outcome).await
        }
        From::OneApi { database, name, dry_run } => {
            let read = foreign_one_api::read(database).await.map_err(|error| match error {
                StoreError::Corrupt(why) => unreadable(database, &why),
                error => unreadable(database, &error),
            })?;
            let node = Node::build(settings, Clock::system(), Role::Maintain).await?;
            let outcome = import::one_api::import(&node.control()?, read, name, *dry_run).await;
            finish(&node, outcome).await
        }
    }
}

async fn finish(node: &Node, outcome: Result<Report, crate::control::ControlError>) -> Result<String, StartError> {
    node.close().await;
    Ok(outcome?.to_string())
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> StartError {
    StartError::Internal(format!("{} cannot be imported: {why}", path.display()))
}

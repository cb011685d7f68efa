//! `pixgate models …`: importing a catalogue, and asking what calls would cost by it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::{
    StartError,
    node::{Node, Role},
};
use crate::{
    clock::Clock,
    config::Settings,
    control::{
        Actor,
        catalog::{Calculator, Format, Import, Origin, import_models},
    },
    domain::pricing::Quantities,
};

/// Larger files are no catalogues.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Subcommand)]
pub enum ModelsCommand {
    /// Import models and prices, and print what changed
    Import {
        #[command(flatten)]
        source: Source,
        /// Only these, for example provider=openai,provider=groq,mode=chat
        #[arg(long)]
        only: Option<String>,
        /// An upstream and the provider whose models it serves; may be repeated
        #[arg(long, value_name = "NAME=PROVIDER", value_parser = pair)]
        upstream: Vec<(String, String)>,
        /// Print what would change, write nothing
        #[arg(long)]
        dry_run: bool,
        /// Take over prices that change more than tenfold, too
        #[arg(long)]
        force: bool,
    },
    /// Say what calls would cost: reads lines like {"model":"gpt-4o","quantities":{"input_tokens":1000}}, asks no database
    Price {
        #[command(flatten)]
        source: Source,
    },
}

#[derive(Args)]
pub struct Source {
    /// A price list of LiteLLM, a catalogue of Pixgate, or CSV
    #[arg(required_unless_present = "bundled", conflicts_with = "bundled")]
    file: Option<PathBuf>,
    /// The catalogue that comes with Pixgate
    #[arg(long)]
    bundled: bool,
    /// auto, litellm, pixgate or csv
    #[arg(long, default_value = "auto", value_parser = format)]
    format: Format,
    /// Multiply every price with this, for example 1.2
    #[arg(long, value_name = "FACTOR")]
    markup: Option<String>,
}

fn format(word: &str) -> Result<Format, String> {
    Format::parse(word).ok_or_else(|| "it must be auto, litellm, pixgate or csv".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, provider)| !name.is_empty() && !provider.is_empty());
    parts.map(|(name, provider)| (name.to_owned(), provider.to_owned())).ok_or_else(|| "write NAME=PROVIDER".to_owned())
}

impl Source {
    fn import(self) -> Result<Import, StartError> {
        let origin = match self.file {
            Some(file) => Origin::Text(read(&file)?),
            None => Origin::Bundled,
        };
        let (format, markup) = (self.format, self.markup);
        Ok(Import { origin, format, only: None, markup, upstreams: BTreeMap::new(), dry_run: false, force: false })
    }
}

fn read(file: &PathBuf) -> Result<String, StartError> {
    let failed = |why: String| StartError::Internal(format!("{} cannot be imported: {why}", file.display()));
    let length = fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(format!("it has {length} bytes, more than {FILE_BYTES_MAX}")));
    }
    fs::read_to_string(file).map_err(|error| failed(error.to_string()))
}

/// `models import`. Fails also when a price was refused for changing too much, so that a script notices.
pub async fn import(settings: &Settings, command: ModelsCommand) -> Result<ExitCode, StartError> {
    let ModelsCommand::Import { source, only, upstream, dry_run, force } = command else { return Ok(price(command)) };
    let import = Import { only, upstreams: upstream.into_iter().collect(), dry_run, force, ..source.import()? };
    let node = Node::build(settings, Clock::system(), Role::Maintain).await?;
    let report = import_models(&node.control()?, &Actor::system(), import).await;
    node.close().await;
    let report = report?;
    println!("{report}");
    Ok(ExitCode::from(u8::from(report.has_leaps)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    model: String,
    quantities: serde_json::Map<String, serde_json::Value>,
}

/// `models price`: one JSON answer a line of standard input, `{"model":…,"cost_micros":…}` or `{"model":…,"error":…}`.
pub fn price(command: ModelsCommand) -> ExitCode {
    let ModelsCommand::Price { source } = command else { return ExitCode::FAILURE };
    let calculator = source.import().and_then(|import| Ok(Calculator::of(&import)?));
    let calculator = match calculator {
        Ok(calculator) => calculator,
        Err(error) => {
            eprintln!("pixgate: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => answer(&calculator, &line),
            Err(error) => {
                eprintln!("pixgate: standard input cannot be read: {error}");
                return ExitCode::FAILURE;
            }
        };
        // A reader that has seen enough closes the pipe; that is no failure.
        if writeln!(out, "{answer}").is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn answer(calculator: &Calculator, line: &str) -> serde_json::Value {
    let question: Question = match serde_json::from_str(line) {
        Ok(question) => question,
        Err(error) => return serde_json::json!({ "model": null, "error": format!("the line is not a question: {error}") }),
    };
    let Question { model, quantities } = question;
    match used(quantities).and_then(|used| calculator.cost(&model, &used).map_err(|error| error.to_string())) {
        Ok(cost_micros) => serde_json::json!({ "model": model, "cost_micros": cost_micros }),
        Err(error) => serde_json::json!({ "model": model, "error": error }),
    }
}

/// A quantity with a wrong name would cost nothing, so it is refused.
fn used(quantities: serde_json::Map<String, serde_json::Value>) -> Result<Quantities, String> {
    let known = serde_json::to_value(Quantities::default()).unwrap_or_default();
    match quantities.keys().find(|name| known.get(name).is_none()) {
        Some(name) => Err(format!("there is no quantity '{name}'")),
        None => serde_json::from_value(quantities.into()).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_line_by_line() {
        let text = r#"{"models":[{"id":"a/m","kind":"chat","prices":[{"unit":"input_token","micros":3,"per":2}]}]}"#;
        let import = Import {
            origin: Origin::Text(text.to_owned()),
            format: Format::Auto,
            only: None,
            markup: Some("1.5".to_owned()),
            upstreams: BTreeMap::new(),
            dry_run: false,
            force: false,
        };
        let calculator = Calculator::of(&import).unwrap();
        let check = |line: &str, expected: serde_json::Value| assert_eq!(answer(&calculator, line), expected, "{line}");
        check(r#"{"model":"a/m","quantities":{"input_tokens":3}}"#, serde_json::json!({"model": "a/m", "cost_micros": 7}));
        check(r#"{"model":"a/m","quantities":{}}"#, serde_json::json!({"model": "a/m", "cost_micros": 0}));
        for bad in [
            r#"{"model":"a/x","quantities":{}}"#,
            r#"{"model":"a/m","quantities":{"input_token":3}}"#,
            r#"{"model":"a/m","quantities":{"input_tokens":-3}}"#,
            "not JSON",
        ] {
            assert!(answer(&calculator, bad)["error"].is_string(), "{bad}");
        }
    }

    #[test]
    fn upstreams_are_given_with_their_provider() {
        assert_eq!(pair("mine=groq"), Ok(("mine".to_owned(), "groq".to_owned())));
        for bad in ["mine", "=groq", "mine=", ""] {
            assert!(pair(bad).is_err(), "{bad}");
        }
    }
}

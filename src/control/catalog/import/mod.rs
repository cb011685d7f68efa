//! Importing a catalogue: a file is read into offers ([`offer`], one file a format), compared with what is there ([`plan`]), and the
//! difference is written in one transaction.
//!
//! Absent on purpose: where files come from (see `app::models` and `http::admin::catalog`), and deleting: a model that a file does not
//! have any more is only reported.

mod amount;
mod litellm;
mod offer;
mod own;
mod plan;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::{
    offer::{Only, Parsed, Wishes},
    plan::{Plan, Routes, Rules},
};
use super::{Control, ControlError, PriceSource, history, models::TOKENS_MAX, publish};
use crate::{
    actors::detached,
    control::{Actor, audit},
    domain::{
        Micros,
        catalog::Model,
        pricing::{PriceList, Quantities},
    },
    store::{
        self,
        catalog::{Current, ModelChanges},
    },
};

pub use self::plan::{Action, ImportChange, ImportEntry};

/// The catalogue that comes with Pixgate: a part of LiteLLM's price list.
const BUNDLED: &str = include_str!("../../../../assets/catalog.json");
const BUNDLED_NAME: &str = "bundled";

/// How a catalogue is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Told from the content.
    #[default]
    Auto,
    /// LiteLLM's `model_prices_and_context_window.json`; a US dollar is a credit.
    Litellm,
    /// `{"models":[…]}` with the fields of the admin API.
    Pixgate,
    /// A header, then a model a line.
    Csv,
}

impl Format {
    /// The word for it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Auto, Self::Litellm, Self::Pixgate, Self::Csv].into_iter().find(|format| format.as_str() == word)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Litellm => "litellm",
            Self::Pixgate => "pixgate",
            Self::Csv => "csv",
        }
    }

    fn told_from(self, text: &str) -> Self {
        #[derive(Deserialize)]
        struct Own {
            #[serde(rename = "models")]
            _models: Vec<serde::de::IgnoredAny>,
        }
        match self {
            Self::Auto if !text.trim_start().starts_with('{') => Self::Csv,
            Self::Auto if serde_json::from_str::<Own>(text).is_ok() => Self::Pixgate,
            Self::Auto => Self::Litellm,
            said => said,
        }
    }
}

/// Where the entries come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// What comes with Pixgate.
    Bundled,
    /// The text of a file.
    Text(String),
}

/// An import that is asked for.
#[derive(Debug, Clone)]
pub struct Import {
    pub origin: Origin,
    pub format: Format,
    /// `provider=openai,mode=chat`; everything when missing.
    pub only: Option<String>,
    /// What prices are multiplied with, a decimal number; 1 when missing.
    pub markup: Option<String>,
    /// Upstreams by name, each with the provider whose models it serves.
    pub upstreams: BTreeMap<String, String>,
    pub dry_run: bool,
    pub force: bool,
}

/// How many models had which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportCounts {
    pub added: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub missing: usize,
    pub refused: usize,
    /// Entries that were not asked for, or of a kind that Pixgate does not serve.
    pub left_out: usize,
}

/// What an import did, or with `dry_run` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportReport {
    /// The kind of file; imports of one kind are compared for what is missing.
    #[schema(example = "litellm")]
    pub source: String,
    /// SHA-256 of the file, hexadecimal.
    pub file_sha256: String,
    pub dry_run: bool,
    pub counts: ImportCounts,
    /// Everything but what is unchanged.
    pub entries: Vec<ImportEntry>,
    /// True when a price was refused because it changed more than tenfold.
    pub has_leaps: bool,
}

/// Reads, compares, and unless it is a dry run writes. A part of the file that cannot be used does not keep the rest from being used.
pub async fn import_models(control: &Control, actor: &Actor, import: Import) -> Result<ImportReport, ControlError> {
    let wishes = wishes(&import)?;
    let Import { origin, format, upstreams, dry_run, force, .. } = import;
    let only = wishes.only.clone();
    let read = detached::compute(move || read(&origin, format, &wishes)).await;
    let read = read.unwrap_or_else(|| Err("reading the file failed half-way".to_owned()));
    let (parsed, name, file_sha256) = read.map_err(|why| ControlError::invalid("data", why))?;
    let left_out = parsed.left_out;
    let now = control.clock.now();
    let source = PriceSource { name: name.clone(), file_sha256: file_sha256.clone(), imported_at: now };
    let decide = |current: &Current| {
        let providers: BTreeSet<&str> = parsed.offers.iter().map(|offer| offer.provider.as_str()).collect();
        let routes = Routes::find(&current.catalog.upstreams, &upstreams, &providers)?;
        let plan = plan::plan(parsed.clone(), &current.catalog.models, &Rules { only: &only, routes, source, force, now });
        if dry_run {
            return Ok((ModelChanges::default(), plan));
        }
        let known: BTreeMap<&str, &Model> = current.catalog.models.iter().map(|model| (model.id.as_str(), model)).collect();
        let record = |model: &Model| history::records(control, current, known.get(model.id.as_str()).copied(), model, actor);
        let prices = plan.models.iter().flat_map(record).collect();
        Ok::<_, ControlError>((ModelChanges { models: plan.models.clone(), prices }, plan))
    };
    let plan = store::catalog::change_models(&control.db, decide).await?;
    let wrote = !dry_run && !plan.models.is_empty();
    let report = report(plan, name, file_sha256, left_out, dry_run);
    if wrote {
        publish(control).await?;
        let details = serde_json::json!({ "file_sha256": report.file_sha256, "counts": report.counts, "force": force });
        audit::note(control, actor, "models.import", &report.source, details).await;
    }
    Ok(report)
}

fn wishes(import: &Import) -> Result<Wishes, ControlError> {
    let only = import.only.as_deref().map_or(Ok(Only::default()), Only::parse).map_err(|why| ControlError::invalid("only", why))?;
    let markup = import.markup.as_deref().unwrap_or("1").parse().map_err(|why: String| ControlError::invalid("markup", why))?;
    Ok(Wishes { only, markup })
}

/// The entries of a file, the name of its kind, and its hash.
fn read(origin: &Origin, format: Format, wishes: &Wishes) -> Result<(Parsed, String, String), String> {
    let (text, format, name) = match origin {
        Origin::Bundled => (BUNDLED, Format::Litellm, BUNDLED_NAME),
        Origin::Text(text) => {
            // Editors leave a byte order mark in front of it.
            let text = text.trim_start_matches('\u{feff}');
            let format = format.told_from(text);
            (text, format, format.as_str())
        }
    };
    let parsed = match format {
        Format::Pixgate => own::parse(text, wishes),
        Format::Csv => table::parse(text, wishes),
        Format::Litellm | Format::Auto => litellm::parse(text, wishes),
    };
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    Ok((parsed?, name.to_owned(), hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn report(plan: Plan, source: String, file_sha256: String, left_out: usize, dry_run: bool) -> ImportReport {
    let count = |action: Action| plan.entries.iter().filter(|entry| entry.action == action).count();
    let counts = ImportCounts {
        added: count(Action::Added),
        changed: count(Action::Changed),
        unchanged: count(Action::Unchanged),
        missing: count(Action::Missing),
        refused: count(Action::Refused),
        left_out,
    };
    let mut entries: Vec<_> = plan.entries.into_iter().filter(|entry| entry.action != Action::Unchanged).collect();
    entries.sort_by(|left, right| (left.action, &left.id).cmp(&(right.action, &right.id)));
    ImportReport { source, file_sha256, dry_run, counts, entries, has_leaps: plan.has_leaps }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.entries.iter().map(|entry| entry.id.chars().count()).max().unwrap_or_default();
        for entry in &self.entries {
            let action = format!("{:?}", entry.action).to_lowercase();
            let change = |change: &ImportChange| match (&change.from, &change.to) {
                (None, Some(to)) => format!("{} {to}", change.what),
                (from, to) => {
                    format!("{} {} -> {}", change.what, from.as_deref().unwrap_or("nothing"), to.as_deref().unwrap_or("nothing"))
                }
            };
            let says: Vec<String> = entry.why.iter().cloned().chain(entry.changes.iter().map(change)).collect();
            writeln!(out, "{action:<9} {:<width$}  {}", entry.id, says.join("; "))?;
        }
        let ImportCounts { added, changed, unchanged, missing, refused, left_out } = self.counts;
        let tense = if self.dry_run { " (nothing was written)" } else { "" };
        write!(
            out,
            "{added} added, {changed} changed, {unchanged} unchanged, {missing} missing, {refused} refused, {left_out} left out{tense}"
        )
    }
}

/// What calls would cost, by a catalogue file alone: for checking a list before it is imported.
pub struct Calculator(BTreeMap<String, PriceList>);

impl Calculator {
    /// Reads the file of an import; nothing of the database is asked.
    pub fn of(import: &Import) -> Result<Self, ControlError> {
        let wishes = wishes(import)?;
        let (parsed, _, _) = read(&import.origin, import.format, &wishes).map_err(|why| ControlError::invalid("data", why))?;
        let names = |offer: &offer::Offer| offer.aliases.iter().cloned().chain([offer.id.clone()]).collect::<Vec<_>>();
        let priced = parsed.offers.into_iter().filter(|offer| !offer.prices.is_empty());
        let lists = priced.flat_map(|offer| names(&offer).into_iter().map(move |name| (name, PriceList(offer.prices.clone()))));
        Ok(Self(lists.collect()))
    }

    /// The charge for so much of a model, by its id or alias.
    pub fn cost(&self, model: &str, used: &Quantities) -> Result<Micros, ControlError> {
        let prices = self.0.get(model).ok_or_else(|| ControlError::NotFound(format!("a price of the model {model}")))?;
        prices.cost(used).map_err(|overflow| ControlError::invalid("quantities", overflow.to_string()))
    }
}

//! Comma-separated values: a header, then a model a line. Prices are credits for one unit, or with `_per_million` for a million.

use rust_decimal::Decimal;

use super::{
    amount,
    offer::{Parsed, Wishes},
    own::{Collected, Written},
};
use crate::domain::pricing::{Price, Unit};

/// A column, by its name in the header.
enum Column {
    /// Of these, see [`FIELDS`].
    Field(&'static str),
    Price {
        unit: Unit,
        above: Option<u64>,
        per_million: bool,
    },
}

const FIELDS: [&str; 11] = [
    "id",
    "kind",
    "provider",
    "upstream_model",
    "display_name",
    "aliases",
    "context_window",
    "max_input_tokens",
    "max_output_tokens",
    "owner",
    "deprecated_at",
];

/// Reads the whole file, or says why it is none.
pub fn parse(text: &str, wishes: &Wishes) -> Result<Parsed, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| format!("the file has no readable header: {error}"))?.clone();
    let columns = header.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    if !["id", "kind"].iter().all(|needed| header.iter().any(|name| name == *needed)) {
        return Err("the header must name the columns id and kind".to_owned());
    }
    let mut collected = Collected::default();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|error| format!("line {}: {error}", index + 2))?;
        let id = columns.iter().zip(&record).find(|(column, _)| matches!(column, Column::Field("id"))).map_or("", |(_, value)| value);
        let called = if id.is_empty() { format!("line {}", index + 2) } else { id.to_owned() };
        if record.len() != columns.len() {
            let why = format!("the line has {} fields, the header {}", record.len(), columns.len());
            collected.parsed.refused.push((called, why));
            continue;
        }
        match row(&columns, &record) {
            Ok(written) => collected.add(written, wishes),
            Err(why) => collected.parsed.refused.push((called, why)),
        }
    }
    Ok(collected.parsed)
}

fn column(name: &str) -> Result<Column, String> {
    if let Some(field) = FIELDS.into_iter().find(|field| *field == name) {
        return Ok(Column::Field(field));
    }
    let (rest, per_million) = name.strip_suffix("_per_million").map_or((name, false), |rest| (rest, true));
    let (unit, above) = match rest.split_once("_above_") {
        Some((unit, tokens)) => {
            (unit, Some(tokens.parse().map_err(|_| format!("the column '{name}' does not say above how many tokens"))?))
        }
        None => (rest, None),
    };
    let unit = Unit::parse(unit).ok_or_else(|| format!("the column '{name}' is neither a field nor a unit that has a price"))?;
    Ok(Column::Price { unit, above, per_million })
}

fn row(columns: &[Column], record: &csv::StringRecord) -> Result<Written, String> {
    let field = |name: &str| {
        let found = columns.iter().zip(record).find(|(column, _)| matches!(column, Column::Field(field) if *field == name));
        found.map(|(_, value)| value).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let count = |name: &str| field(name).map(|text| text.parse::<u64>().map_err(|_| format!("{name}: '{text}' is not a whole number")));
    let mut prices = Vec::new();
    for (column, value) in columns.iter().zip(record).filter(|(_, value)| !value.is_empty()) {
        let Column::Price { unit, above, per_million } = column else { continue };
        let written = amount::read(value)?;
        let credits = if *per_million { written.checked_div(Decimal::from(1_000_000)).unwrap_or(written) } else { written };
        // The markup comes later, as for every price that is exact already.
        let price = amount::price(*unit, credits, amount::Markup::default())?;
        prices.push(Price { above_input_tokens: *above, ..price });
    }
    let kind = field("kind").unwrap_or_default();
    Ok(Written {
        id: field("id").ok_or("the line has no id")?,
        kind: serde_json::from_value(kind.as_str().into()).map_err(|_| format!("'{kind}' is not a kind of model"))?,
        provider: field("provider"),
        upstream_model: field("upstream_model"),
        display_name: field("display_name"),
        aliases: field("aliases").map(|names| names.split_whitespace().map(str::to_owned).collect()).unwrap_or_default(),
        capabilities: crate::domain::catalog::Capabilities::default(),
        context_window: count("context_window").transpose()?,
        max_input_tokens: count("max_input_tokens").transpose()?,
        max_output_tokens: count("max_output_tokens").transpose()?,
        prices,
        owner: field("owner"),
        deprecated_at: field("deprecated_at"),
    })
}

//! Privacy: which data is personal, and what people may ask about it.
//!
//! The register ([`register::TABLES`]) is what exports and deletions work from. Absent on purpose: SQL that runs (see
//! `store::privacy`), the work itself (see `actors::privacy`).

pub mod register;
pub mod signature;

use serde::{Deserialize, Serialize};

/// What kind of data a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Names and accounts elsewhere.
    Identity,
    /// Mail addresses.
    Contact,
    /// Network addresses and browsers.
    Network,
    /// What the person wrote, sent or was answered.
    Content,
    /// Proofs of who somebody is; useless to their owner and dangerous in an archive.
    Secret,
    /// What was called, when, and how much of it.
    Usage,
    /// Credits and what became of them.
    Money,
    /// Ids that join rows.
    Identifier,
    /// Times, states, choices.
    Facts,
    /// No data of customers.
    Nobody,
}

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Contact => "contact",
            Self::Network => "network",
            Self::Content => "content",
            Self::Secret => "secret",
            Self::Usage => "usage",
            Self::Money => "money",
            Self::Identifier => "identifier",
            Self::Facts => "facts",
            Self::Nobody => "none",
        }
    }
}

/// What an export does with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    Shown,
    /// Bytes, shown as text.
    Bytes,
    /// Kept sealed; opened into a file of its own.
    Opened,
    /// Left out.
    Left,
}

impl Export {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shown | Self::Bytes => "shown",
            Self::Opened => "opened",
            Self::Left => "left out",
        }
    }
}

/// What a deletion does with the rows of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Erase,
    /// They stay, for this reason, with their columns replaced as said.
    Keep(&'static str),
    /// The table knows no customers; it holds this instead.
    Nobody(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub class: Class,
    pub export: Export,
    /// What a deletion writes in its place when the row is kept: an SQL expression.
    pub replaced: Option<&'static str>,
}

impl Column {
    const fn replaced(self, by: &'static str) -> Self {
        Self { replaced: Some(by), ..self }
    }
}

const fn column(name: &'static str, class: Class, export: Export) -> Column {
    Column { name, class, export, replaced: None }
}

#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    /// SQL condition for the rows of the account with id `$1` and mail address `$2`.
    pub owned: Option<&'static str>,
    pub fate: Fate,
    pub columns: &'static [Column],
}

/// What somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A copy of everything that is held.
    Export,
    /// The end of the account and its data.
    Deletion,
    /// Something held is wrong; done by the staff.
    Correction,
    /// The account is kept and not processed.
    Restriction,
    /// No analytics with the account's data.
    Objection,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Deletion => "deletion",
            Self::Correction => "correction",
            Self::Restriction => "restriction",
            Self::Objection => "objection",
        }
    }
}

/// What became of a request so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for the staff.
    Open,
    /// Waits for its time, or is worked on.
    Scheduled,
    Done,
    Canceled,
    /// The staff said no.
    Rejected,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_tables_replace_whatever_leads_to_a_person() {
        for table in register::TABLES {
            let is_kept = matches!(table.fate, Fate::Keep(_));
            assert_eq!(table.owned.is_none(), matches!(table.fate, Fate::Nobody(_)), "{}", table.name);
            for column in table.columns {
                let leads = matches!(column.class, Class::Identity | Class::Contact | Class::Network | Class::Secret);
                // A hash of a request proves nothing about a person.
                let is_exempt = column.name == "request_hash";
                assert!(!is_kept || !leads || is_exempt || column.replaced.is_some(), "{}.{}", table.name, column.name);
            }
        }
    }

    fn table_of_the_register() -> String {
        let mut text = String::from("| table | personal columns | a deletion | why rows stay |\n|---|---|---|---|\n");
        for table in register::TABLES {
            let personal = table.columns.iter().filter(|column| !matches!(column.class, Class::Nobody | Class::Identifier | Class::Facts));
            let personal: Vec<String> =
                personal.map(|column| format!("{} ({}, {})", column.name, column.class.as_str(), column.export.as_str())).collect();
            let blanked: Vec<&str> = table.columns.iter().filter(|column| column.replaced.is_some()).map(|column| column.name).collect();
            let (fate, why) = match table.fate {
                Fate::Erase => ("erases the rows".to_owned(), ""),
                Fate::Keep(why) if blanked.is_empty() => ("keeps the rows".to_owned(), why),
                Fate::Keep(why) => (format!("blanks {}", blanked.join(", ")), why),
                Fate::Nobody(what) => ("has nothing to do".to_owned(), what),
            };
            text.push_str(&format!("| {} | {} | {fate} | {why} |\n", table.name, personal.join(", ")));
        }
        text
    }

    /// To update: `PIXGATE_TEST_UPDATE_DOCS=1 cargo test --lib privacy`.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the one switch that rewrites the page")]
    fn the_page_has_the_register() {
        const HEADING: &str = "## The register\n\n";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/privacy.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (before, after) = page.split_once(HEADING).unwrap();
        if std::env::var_os("PIXGATE_TEST_UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}{HEADING}{}", table_of_the_register())).unwrap();
            return;
        }
        assert_eq!(after, table_of_the_register(), "docs/privacy.md is not up to date");
    }

    #[test]
    fn the_account_goes_last() {
        let mut owned = register::TABLES.iter().filter(|table| table.owned.is_some());
        assert_eq!(owned.next_back().unwrap().name, "accounts");
    }
}

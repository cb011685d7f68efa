//! The terms and the privacy policy: versions that never change, who accepted which, and news of a new one by mail.
//!
//! Whoever registers accepts the versions in force (see `store::people::join`). The mails are written by `actors::sweeper`.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Actor, Control, ControlError, Moment, audit, input::check_id, owner::Owner, people::Visitor};
use crate::store::{self, StoreError, policies::Acceptance};

pub use crate::store::policies::Policy;

const VERSION_LENGTH_MAX: usize = 40;
const BODY_BYTES_MAX: usize = 512 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyDocument {
    Terms,
    Privacy,
}

impl PolicyDocument {
    pub const ALL: [Self; 2] = [Self::Terms, Self::Privacy];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terms => "terms",
            Self::Privacy => "privacy",
        }
    }

    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Terms => "Terms",
            Self::Privacy => "Privacy policy",
        }
    }
}

/// A version to publish.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPolicy {
    pub document: PolicyDocument,
    #[schema(example = "2026-12", max_length = 40)]
    pub version: String,
    /// Markdown, at most 512 KiB.
    pub body: String,
    /// From when on it counts; at once when missing.
    #[serde(default)]
    pub effective_at: Option<Moment>,
    /// Whether people with a proven address are told by mail; when missing, unless it is the document's first version.
    #[serde(default)]
    pub announce: Option<bool>,
}

/// What an account accepted of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub document: PolicyDocument,
    /// The version in force.
    pub current: String,
    /// When the account accepted that version.
    pub accepted_at: Option<i64>,
}

/// Publishes a version. [`ControlError::Conflict`] when there is one of that name.
pub async fn publish(control: &Control, actor: &Actor, new: NewPolicy) -> Result<Policy, ControlError> {
    check_id("version", &new.version, VERSION_LENGTH_MAX)?;
    if new.body.trim().is_empty() || new.body.len() > BODY_BYTES_MAX || new.body.contains('\0') {
        return Err(ControlError::invalid("body", format!("body must have 1 to {BODY_BYTES_MAX} bytes of text")));
    }
    let document = new.document.as_str();
    let now = control.clock.now();
    let is_first = store::policies::list(&control.db, Some(document)).await?.is_empty();
    let announce = new.announce.unwrap_or(!is_first);
    let policy = Policy {
        document: document.to_owned(),
        version: new.version,
        body: new.body,
        effective_at: new.effective_at.map_or(now, |at| at.0),
        announced_at: (!announce).then_some(now),
        created_at: now,
    };
    store::policies::insert(&control.db, &policy).await.map_err(|error| match error {
        StoreError::Conflict(_) => ControlError::Conflict(format!(
            "there is a version {} of this document, and versions never change; choose another name",
            policy.version
        )),
        other => other.into(),
    })?;
    let details = json!({ "version": policy.version, "effective_at": Moment(policy.effective_at), "announce": announce });
    audit::note(control, actor, "policy.publish", document, details).await;
    Ok(policy)
}

/// Every version, also those to come.
pub async fn list(control: &Control) -> Result<Vec<Policy>, ControlError> {
    Ok(store::policies::list(&control.db, None).await?)
}

/// The version of each document that is in force.
pub async fn current(control: &Control) -> Result<Vec<Policy>, ControlError> {
    Ok(store::policies::current(&control.db, control.clock.now()).await?)
}

/// A version that is named, or the one in force.
pub async fn read(control: &Control, document: PolicyDocument, version: Option<&str>) -> Result<Policy, ControlError> {
    let document = document.as_str();
    let found = match version {
        Some(version) => store::policies::get(&control.db, document, version).await?,
        None => current(control).await?.into_iter().find(|policy| policy.document == document),
    };
    let named = || version.map_or_else(|| document.to_owned(), |version| format!("{document}, version {version}"));
    found.ok_or_else(|| ControlError::NotFound(format!("policy {}", named())))
}

/// Notes that the person behind a session agrees to a version.
pub async fn accept(
    control: &Control,
    visitor: &Visitor,
    owner: &Owner,
    document: PolicyDocument,
    version: &str,
) -> Result<Vec<Standing>, ControlError> {
    let policy = read(control, document, Some(version)).await?;
    let acceptance = Acceptance {
        id: control.clock.new_id("pac"),
        account_id: owner.person_id.clone(),
        document: policy.document,
        version: policy.version,
        ip: visitor.ip_text(),
        accepted_at: control.clock.now(),
    };
    store::policies::add_acceptance(&control.db, &acceptance).await?;
    standing(control, &owner.person_id).await
}

/// What an account accepted of the documents in force.
pub async fn standing(control: &Control, account_id: &str) -> Result<Vec<Standing>, ControlError> {
    let accepted = store::policies::acceptances(&control.db, account_id).await?;
    let current = current(control).await?;
    let of = |document: PolicyDocument| {
        let policy = current.iter().find(|policy| policy.document == document.as_str())?;
        let same = |acceptance: &&Acceptance| acceptance.document == policy.document && acceptance.version == policy.version;
        let accepted_at = accepted.iter().find(same).map(|acceptance| acceptance.accepted_at);
        Some(Standing { document, current: policy.version.clone(), accepted_at })
    };
    Ok(PolicyDocument::ALL.into_iter().filter_map(of).collect())
}

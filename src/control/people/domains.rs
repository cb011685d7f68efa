//! Mail domains that may not sign up: those of the operator's list, and known disposable ones where that is switched on.

use serde::Deserialize;
use serde_json::json;

use super::super::{Actor, Control, ControlError, audit};
use crate::store;

pub use crate::store::domains::BlockedDomain;

#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBlockedDomain {
    /// Subdomains are blocked with it.
    #[schema(example = "mailinator.example")]
    pub domain: String,
    #[serde(default)]
    pub note: String,
}

/// Refuses an address whose domain is blocked.
pub(super) async fn check(control: &Control, email: &str) -> Result<(), ControlError> {
    let domain = email.rsplit('@').next().unwrap_or_default();
    let refused = || ControlError::invalid("email", format!("addresses of {domain} cannot be used here; use another one"));
    if control.people.policy.block_disposable && !mailchecker::is_valid(email) {
        return Err(refused());
    }
    let parents: Vec<String> = domain.match_indices('.').map(|(at, _)| domain[at + 1..].to_owned()).collect();
    let names: Vec<String> = std::iter::once(domain.to_owned()).chain(parents).collect();
    if store::domains::any(&control.db, &names).await? { Err(refused()) } else { Ok(()) }
}

pub async fn list_domains(control: &Control) -> Result<Vec<BlockedDomain>, ControlError> {
    Ok(store::domains::list(&control.db).await?)
}

pub async fn add_domain(control: &Control, actor: &Actor, new: NewBlockedDomain) -> Result<BlockedDomain, ControlError> {
    let domain = new.domain.trim().trim_start_matches('@').trim_end_matches('.').to_lowercase();
    let is_name = domain.len() <= 253
        && domain.split('.').all(|label| !label.is_empty() && !label.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@'));
    if !is_name {
        return Err(ControlError::invalid("domain", "domain must be a name such as mailinator.example"));
    }
    let row = BlockedDomain { domain, note: new.note.chars().take(200).collect(), created_at: control.clock.now() };
    store::domains::put(&control.db, &row).await?;
    audit::note(control, actor, "blocked_domain.add", &row.domain, json!({})).await;
    Ok(row)
}

pub async fn remove_domain(control: &Control, actor: &Actor, domain: &str) -> Result<(), ControlError> {
    if !store::domains::delete(&control.db, &domain.to_lowercase()).await? {
        return Err(ControlError::NotFound(format!("blocked domain {domain}")));
    }
    audit::note(control, actor, "blocked_domain.remove", domain, json!({})).await;
    Ok(())
}

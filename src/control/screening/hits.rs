//! What rules hit, and the mistakes among it: a release makes an account exempt from a rule.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::publish;
use crate::{
    control::{Actor, Control, ControlError, Page, PageRequest, audit, input::check_text},
    store::{
        self,
        screening::{Exemption, Hit, HitFilter, Release},
    },
};

const REASON_LENGTH_MAX: usize = 500;
const EXEMPTIONS_MAX: u64 = 100_000;

/// Why a hit was a mistake.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HitRelease {
    #[schema(example = "a customer's product has that name", min_length = 1, max_length = 500)]
    pub reason: String,
}

/// A hit with what was kept of the text.
#[derive(Debug, Clone)]
pub struct ShownHit {
    pub hit: Hit,
    pub excerpt: Option<String>,
}

/// Hits, newest first, all those included that calls ended with before.
pub async fn list_hits(control: &Control, filter: &HitFilter, page: &PageRequest) -> Result<Page<ShownHit>, ControlError> {
    flush(control).await?;
    let hits = store::screening::list_hits(&control.db, filter, page.after(), page.rows()).await?;
    let page = Page::cut(hits, page, |hit| hit.id.clone());
    Ok(Page { items: page.items.into_iter().map(|hit| shown(control, hit)).collect(), next: page.next })
}

pub async fn get_hit(control: &Control, id: &str) -> Result<ShownHit, ControlError> {
    flush(control).await?;
    let hit = store::screening::get_hit(&control.db, id).await?.ok_or_else(|| ControlError::NotFound(format!("screening hit {id}")))?;
    Ok(shown(control, hit))
}

/// Declares a hit a mistake: the account is exempt from its rule from now on. Again, it changes nothing.
pub async fn release_hit(control: &Control, actor: &Actor, id: &str, release: HitRelease) -> Result<ShownHit, ControlError> {
    check_text("reason", &release.reason, REASON_LENGTH_MAX)?;
    let found = get_hit(control, id).await?;
    if found.hit.release.is_some() {
        return Ok(found);
    }
    let Hit { rule_id, account_id, .. } = found.hit.clone();
    if store::screening::get_rule(&control.db, &rule_id).await?.is_none() {
        let why = "no rule stands behind this hit any more, so there is nothing to exempt the account from";
        return Err(ControlError::Conflict(why.to_owned()));
    }
    let exempt = store::screening::count_exemptions(&control.db).await?;
    if exempt >= EXEMPTIONS_MAX {
        return Err(ControlError::Conflict(format!("there are {exempt} exemptions, the most there may be; change the rule instead")));
    }
    let release = Release { at: control.clock.now(), by: actor.id.clone(), reason: release.reason };
    let exemption = Exemption {
        id: control.clock.new_id("scx"),
        account_id: account_id.clone(),
        rule_id: rule_id.clone(),
        hit_id: id.to_owned(),
        reason: release.reason.clone(),
        created_by: actor.id.clone(),
        created_at: release.at,
    };
    store::screening::release(&control.db, id, &release, &exemption).await?;
    publish(control).await?;
    let details = json!({ "account": account_id, "rule": rule_id, "reason": release.reason });
    audit::note(control, actor, "screening_hit.release", id, details).await;
    get_hit(control, id).await
}

/// All exemptions, newest first.
pub async fn list_exemptions(control: &Control, page: &PageRequest) -> Result<Page<Exemption>, ControlError> {
    Ok(Page::of_all(store::screening::list_exemptions(&control.db).await?, page, |exemption| exemption.id.clone()))
}

/// From the very next call on the rule counts for the account again.
pub async fn delete_exemption(control: &Control, actor: &Actor, id: &str) -> Result<(), ControlError> {
    let deleted = store::screening::delete_exemption(&control.db, id).await?;
    let deleted = deleted.ok_or_else(|| ControlError::NotFound(format!("screening exemption {id}")))?;
    publish(control).await?;
    let details = json!({ "account": deleted.account_id, "rule": deleted.rule_id });
    audit::note(control, actor, "screening_exemption.delete", id, details).await;
    Ok(())
}

fn shown(control: &Control, hit: Hit) -> ShownHit {
    let excerpt = store::screening::open_excerpt(&control.sealer, &hit).unwrap_or_else(|error| {
        tracing::warn!(error = %error, hit.id = %hit.id, "the excerpt of a hit cannot be opened");
        None
    });
    ShownHit { hit, excerpt }
}

async fn flush(control: &Control) -> Result<(), ControlError> {
    if control.screening.flush().await {
        return Ok(());
    }
    Err(ControlError::Unavailable("hits of screening rules wait to be written".to_owned()))
}

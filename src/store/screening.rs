//! Screening: rules, what they hit, and the accounts that are exempt from one.

use pixgate_entities::{
    screening_exemptions::{self, Entity as Exemptions},
    screening_hits::{self, Entity as Hits},
    screening_rules::{self, Entity as Rules},
};
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, sea_query::OnConflict};
use serde::{Deserialize, Serialize};

use super::{Db, StoreError, seal::Sealer, sql};
use crate::domain::{
    Timestamp,
    screening::{Action, Moderator, Rule},
};

/// Rows of one INSERT, far below what the engines take as parameters.
const HITS_PER_STATEMENT: usize = 100;

/// A call that a rule hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// `sch_…`
    pub id: String,
    pub request_id: String,
    pub account_id: String,
    pub key_id: String,
    /// Empty when no rule was to blame, but the bound on their work.
    pub rule_id: String,
    pub rule_name: String,
    pub action: Action,
    pub model: String,
    pub endpoint: String,
    /// Sealed; see [`open_excerpt`].
    pub sealed_excerpt: Option<Vec<u8>>,
    pub created_at: Timestamp,
    pub release: Option<Release>,
}

/// A hit was a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub at: Timestamp,
    /// Id of the key that released it.
    pub by: String,
    pub reason: String,
}

/// A rule does not hold up this account any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// `scx_…`
    pub id: String,
    pub account_id: String,
    pub rule_id: String,
    pub hit_id: String,
    pub reason: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// Which hits are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HitFilter {
    pub account_id: Option<String>,
    pub rule_id: Option<String>,
    pub request_id: Option<String>,
    pub action: Option<Action>,
}

/// What few rules have.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Options {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    case_sensitive: Option<bool>,
    #[serde(default)]
    whole_word: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moderator: Option<Moderator>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// All rules, newest first.
pub async fn list_rules(db: &Db) -> Result<Vec<Rule>, StoreError> {
    let query = Rules::find().order_by_desc(screening_rules::Column::Id);
    db.within(async { query.all(db.read()).await?.into_iter().map(rule_of).collect() }).await
}

pub async fn count_rules(db: &Db) -> Result<u64, StoreError> {
    count(db, "SELECT COUNT(*) AS counted FROM screening_rules").await
}

pub async fn count_exemptions(db: &Db) -> Result<u64, StoreError> {
    count(db, "SELECT COUNT(*) AS counted FROM screening_exemptions").await
}

async fn count(db: &Db, text: &str) -> Result<u64, StoreError> {
    let row = db.within(async { sql::one(db.read(), text, []).await }).await?;
    let rows: i64 = row.map_or(Ok(0), |row| row.try_get("", "counted"))?;
    sql::number(rows, "rows")
}

pub async fn get_rule(db: &Db, id: &str) -> Result<Option<Rule>, StoreError> {
    let query = Rules::find_by_id(id);
    db.within(async { query.one(db.read()).await?.map(rule_of).transpose() }).await
}

/// Writes new rules, or none.
pub async fn insert_rules(db: &Db, rules: &[Rule]) -> Result<(), StoreError> {
    let rows: Vec<_> = rules.iter().map(model_of).collect::<Result<_, _>>()?;
    db.within(async {
        let transaction = db.begin().await?;
        for row in rows {
            Rules::insert(row.into_active_model()).exec_without_returning(&transaction).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

/// Answers `false` when there is no such rule.
pub async fn update_rule(db: &Db, rule: &Rule) -> Result<bool, StoreError> {
    let row = model_of(rule)?;
    let text = "UPDATE screening_rules SET name = $1, kind = $2, pattern = $3, action = $4, enabled = $5, priority = $6, options = $7, \
        updated_at = $8 WHERE id = $9";
    let values = [
        row.name.into(),
        row.kind.into(),
        row.pattern.into(),
        row.action.into(),
        row.enabled.into(),
        row.priority.into(),
        row.options.into(),
        row.updated_at.into(),
        row.id.into(),
    ];
    db.within(async { Ok(sql::execute(db.write(), text, values).await? > 0) }).await
}

/// Deletes a rule with the exemptions from it; what it hit stays. Answers `false` when there was none.
pub async fn delete_rule(db: &Db, id: &str) -> Result<bool, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        Exemptions::delete_many().filter(screening_exemptions::Column::RuleId.eq(id)).exec(&transaction).await?;
        let deleted = Rules::delete_by_id(id).exec(&transaction).await?.rows_affected;
        transaction.commit().await?;
        Ok(deleted > 0)
    })
    .await
}

/// Writes hits; those that are there already (an attempt whose outcome was not known) are left alone.
pub async fn insert_hits(db: &Db, hits: &[Hit]) -> Result<(), StoreError> {
    let known = OnConflict::column(screening_hits::Column::Id).do_nothing().to_owned();
    db.within(async {
        let transaction = db.begin().await?;
        for chunk in hits.chunks(HITS_PER_STATEMENT) {
            let rows = chunk.iter().map(|hit| row_of(hit).into_active_model());
            Hits::insert_many(rows).on_conflict(known.clone()).exec_without_returning(&transaction).await?;
        }
        Ok(transaction.commit().await?)
    })
    .await
}

/// Hits, newest first, behind the one named `after`.
pub async fn list_hits(db: &Db, filter: &HitFilter, after: Option<&str>, limit: u64) -> Result<Vec<Hit>, StoreError> {
    use screening_hits::Column;
    let mut query = Hits::find().order_by_desc(Column::Id).limit(limit);
    let wanted = [(Column::AccountId, &filter.account_id), (Column::RuleId, &filter.rule_id), (Column::RequestId, &filter.request_id)];
    for (column, value) in wanted.into_iter().filter_map(|(column, value)| Some((column, value.as_ref()?))) {
        query = query.filter(column.eq(value));
    }
    if let Some(action) = filter.action {
        query = query.filter(Column::Action.eq(action.as_str()));
    }
    if let Some(after) = after {
        query = query.filter(Column::Id.lt(after));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(hit_of).collect() }).await
}

pub async fn get_hit(db: &Db, id: &str) -> Result<Option<Hit>, StoreError> {
    let query = Hits::find_by_id(id);
    db.within(async { query.one(db.read()).await?.map(hit_of).transpose() }).await
}

/// Marks a hit as released, unless it was before, and writes the exemption, unless there is one.
pub async fn release(db: &Db, hit_id: &str, release: &Release, exemption: &Exemption) -> Result<(), StoreError> {
    let text = "UPDATE screening_hits SET released_at = $1, released_by = $2, release_reason = $3 WHERE id = $4 AND released_at IS NULL";
    let values = [release.at.into(), release.by.as_str().into(), release.reason.as_str().into(), hit_id.into()];
    let row = screening_exemptions::Model {
        id: exemption.id.clone(),
        account_id: exemption.account_id.clone(),
        rule_id: exemption.rule_id.clone(),
        hit_id: exemption.hit_id.clone(),
        reason: exemption.reason.clone(),
        created_by: exemption.created_by.clone(),
        created_at: exemption.created_at,
    };
    let known =
        OnConflict::columns([screening_exemptions::Column::AccountId, screening_exemptions::Column::RuleId]).do_nothing().to_owned();
    db.within(async {
        let transaction = db.begin().await?;
        sql::execute(&transaction, text, values).await?;
        Exemptions::insert(row.into_active_model()).on_conflict(known).exec_without_returning(&transaction).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// All exemptions, newest first.
pub async fn list_exemptions(db: &Db) -> Result<Vec<Exemption>, StoreError> {
    let query = Exemptions::find().order_by_desc(screening_exemptions::Column::Id);
    db.within(async { Ok(query.all(db.read()).await?.into_iter().map(exemption_of).collect()) }).await
}

/// Answers with what was deleted.
pub async fn delete_exemption(db: &Db, id: &str) -> Result<Option<Exemption>, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let found = Exemptions::find_by_id(id).one(&transaction).await?;
        Exemptions::delete_by_id(id).exec(&transaction).await?;
        transaction.commit().await?;
        Ok(found.map(exemption_of))
    })
    .await
}

/// Deletes at most `limit` hits that are older than `before`; answers with how many there were.
pub async fn delete_hits(db: &Db, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let text = "DELETE FROM screening_hits WHERE id IN (SELECT id FROM screening_hits WHERE created_at < $1 LIMIT $2)";
    let limit: i64 = sql::number(limit, "limit")?;
    db.within(async { sql::execute(db.write(), text, [before.into(), limit.into()]).await }).await
}

/// What a hit's excerpt is bound to.
fn owner(hit_id: &str) -> String {
    format!("screening_hit {hit_id}")
}

pub fn seal_excerpt(sealer: &Sealer, hit_id: &str, excerpt: &str) -> Result<Vec<u8>, StoreError> {
    Ok(sealer.seal(&owner(hit_id), excerpt)?)
}

pub fn open_excerpt(sealer: &Sealer, hit: &Hit) -> Result<Option<String>, StoreError> {
    Ok(hit.sealed_excerpt.as_deref().map(|sealed| sealer.open(&owner(&hit.id), sealed)).transpose()?)
}

fn model_of(rule: &Rule) -> Result<screening_rules::Model, StoreError> {
    let options = Options {
        case_sensitive: rule.case_sensitive,
        whole_word: rule.whole_word,
        models: rule.models.clone(),
        endpoints: rule.endpoints.clone(),
        moderator: rule.moderator.clone(),
        note: rule.note.clone(),
    };
    Ok(screening_rules::Model {
        id: rule.id.clone(),
        name: rule.name.clone(),
        kind: sql::to_word(&rule.kind)?,
        pattern: rule.pattern.clone(),
        action: rule.action.as_str().to_owned(),
        enabled: rule.enabled,
        priority: rule.priority.into(),
        options: sql::to_json(&options)?,
        bundled: rule.bundled.clone(),
        created_at: rule.created_at,
        updated_at: rule.updated_at,
    })
}

fn rule_of(row: screening_rules::Model) -> Result<Rule, StoreError> {
    let options: Options = sql::from_json(&row.options, "screening_rules.options")?;
    Ok(Rule {
        kind: sql::from_word(&row.kind, "screening_rules.kind")?,
        action: sql::from_word(&row.action, "screening_rules.action")?,
        priority: sql::number(row.priority, "screening_rules.priority")?,
        id: row.id,
        name: row.name,
        pattern: row.pattern,
        enabled: row.enabled,
        case_sensitive: options.case_sensitive,
        whole_word: options.whole_word,
        models: options.models,
        endpoints: options.endpoints,
        moderator: options.moderator,
        note: options.note,
        bundled: row.bundled,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn row_of(hit: &Hit) -> screening_hits::Model {
    let (released_at, released_by, release_reason) = match hit.release.clone() {
        Some(Release { at, by, reason }) => (Some(at), Some(by), Some(reason)),
        None => (None, None, None),
    };
    screening_hits::Model {
        id: hit.id.clone(),
        request_id: hit.request_id.clone(),
        account_id: hit.account_id.clone(),
        key_id: hit.key_id.clone(),
        rule_id: hit.rule_id.clone(),
        rule_name: hit.rule_name.clone(),
        action: hit.action.as_str().to_owned(),
        model: hit.model.clone(),
        endpoint: hit.endpoint.clone(),
        sealed_excerpt: hit.sealed_excerpt.clone(),
        created_at: hit.created_at,
        released_at,
        released_by,
        release_reason,
    }
}

fn hit_of(row: screening_hits::Model) -> Result<Hit, StoreError> {
    let release = match (row.released_at, row.released_by, row.release_reason) {
        (Some(at), Some(by), Some(reason)) => Some(Release { at, by, reason }),
        _ => None,
    };
    Ok(Hit {
        action: sql::from_word(&row.action, "screening_hits.action")?,
        id: row.id,
        request_id: row.request_id,
        account_id: row.account_id,
        key_id: row.key_id,
        rule_id: row.rule_id,
        rule_name: row.rule_name,
        model: row.model,
        endpoint: row.endpoint,
        sealed_excerpt: row.sealed_excerpt,
        created_at: row.created_at,
        release,
    })
}

fn exemption_of(row: screening_exemptions::Model) -> Exemption {
    Exemption {
        id: row.id,
        account_id: row.account_id,
        rule_id: row.rule_id,
        hit_id: row.hit_id,
        reason: row.reason,
        created_by: row.created_by,
        created_at: row.created_at,
    }
}

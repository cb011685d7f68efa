//! How the rows of the control plane read in answers. Secrets have no field here.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    control::{
        Moment,
        accounts::Account,
        audit::AuditEntry,
        catalog::{Model, PriceRecord, PriceSource, Upstream},
        check::{Check, Difference},
        credits::{Entry, GrantRow},
        keys::{ApiKey, CreatedKey},
    },
    domain::{
        Micros,
        account::AccountStatus,
        api_key::{Budget, KeyOptions, Scope},
        catalog::{Capabilities, ModelKind, ProviderKind, Route, Timeouts, UpstreamOptions},
        ledger::{Book, Category, TransferKind},
        pricing::Price,
        quota::Limits,
        route::Routing,
    },
    upstream,
};

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountView {
    #[schema(example = "acc_0198c0de0000700080000000000000aa")]
    pub id: String,
    pub email: String,
    pub name: String,
    pub status: AccountStatus,
    pub verified: bool,
    pub verified_at: Option<Moment>,
    /// The account's own limits; the gateway's defaults count where it has none.
    pub limits: Limits,
    pub plan_id: Option<String>,
    pub created_at: Moment,
    pub updated_at: Moment,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            email: account.email,
            name: account.name,
            status: account.status,
            verified: account.verified_at.is_some(),
            verified_at: account.verified_at.map(Moment),
            limits: account.limits,
            plan_id: account.plan_id,
            created_at: Moment(account.created_at),
            updated_at: Moment(account.updated_at),
        }
    }
}

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyView {
    #[schema(example = "key_0198c0de0000700080000000000000aa")]
    pub id: String,
    pub account_id: String,
    pub title: String,
    /// First characters of the key, enough to recognise it.
    pub prefix: String,
    pub last4: String,
    pub scopes: Vec<Scope>,
    /// Null allows all.
    pub models: Option<Vec<String>>,
    pub limits: Limits,
    pub budget: Option<Budget>,
    /// Null allows all.
    pub ip_allow: Option<Vec<String>>,
    pub options: KeyOptions,
    pub expires_at: Option<Moment>,
    pub revoked_at: Option<Moment>,
    /// The key this one replaced.
    pub rotated_from: Option<String>,
    /// Exact to about a minute.
    pub last_used_at: Option<Moment>,
    pub created_at: Moment,
    /// It came from another program and is so short that it can be guessed: rotate it before it expires.
    pub legacy_weak: bool,
    /// Why it was revoked, when that was not simply wished: `leaked`, `legacy_unusable`.
    pub revoked_reason: Option<String>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            account_id: key.account_id,
            title: key.title,
            prefix: key.prefix,
            last4: key.last4,
            scopes: key.scopes,
            models: key.models,
            limits: key.limits,
            budget: key.budget,
            ip_allow: key.ip_allow.map(|networks| networks.iter().map(ToString::to_string).collect()),
            options: key.options,
            expires_at: key.expires_at.map(Moment),
            revoked_at: key.revoked_at.map(Moment),
            rotated_from: key.rotated_from,
            last_used_at: key.last_used_at.map(Moment),
            created_at: Moment(key.created_at),
            legacy_weak: key.legacy_weak,
            revoked_reason: key.revoked_reason,
        }
    }
}

/// A new key with its whole text, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct CreatedKeyView {
    #[schema(example = "px_live_…")]
    pub key: String,
    #[serde(flatten)]
    pub record: ApiKeyView,
}

impl From<CreatedKey> for CreatedKeyView {
    fn from(created: CreatedKey) -> Self {
        Self { key: created.text.expose().to_owned(), record: created.key.into() }
    }
}

/// Credits as they were given.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantView {
    #[schema(example = "grant_0198c0de0000700080000000000000aa")]
    pub id: String,
    pub account_id: String,
    pub amount_micros: Micros,
    pub category: Category,
    /// Lower is drawn first.
    pub priority: i32,
    pub reason: String,
    /// Id of the key that gave them, or `system`.
    pub granted_by: String,
    pub effective_at: Moment,
    pub expires_at: Option<Moment>,
    pub created_at: Moment,
}

impl From<&GrantRow> for GrantView {
    fn from(row: &GrantRow) -> Self {
        Self {
            id: row.grant.id.clone(),
            account_id: row.account_id.clone(),
            amount_micros: row.grant.amount,
            category: row.grant.category,
            priority: row.grant.priority,
            reason: row.reason.clone(),
            granted_by: row.actor.clone(),
            effective_at: Moment(row.grant.effective_at),
            expires_at: row.grant.expires_at.map(Moment),
            created_at: Moment(row.created_at),
        }
    }
}

/// A grant and what became of it: amount = available + leased + spent + expired + revoked + repaid.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantStateView {
    #[serde(flatten)]
    pub grant: GrantView,
    pub available_micros: Micros,
    /// Reserved by nodes: unused, held by calls, or spent by calls that are not folded in yet.
    pub leased_micros: Micros,
    pub spent_micros: Micros,
    pub expired_micros: Micros,
    pub revoked_micros: Micros,
    /// Went into paying debt.
    pub repaid_micros: Micros,
}

impl From<GrantRow> for GrantStateView {
    fn from(row: GrantRow) -> Self {
        Self {
            grant: (&row).into(),
            available_micros: row.grant.available,
            leased_micros: row.grant.leased,
            spent_micros: row.grant.spent,
            expired_micros: row.grant.expired,
            revoked_micros: row.grant.revoked,
            repaid_micros: row.grant.repaid,
        }
    }
}

/// What was taken back of a grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevocationView {
    pub grant_id: String,
    pub revoked_micros: Micros,
}

/// A line of the ledger. Lines never change; a correction is another line.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerEntryView {
    pub seq: i64,
    pub kind: TransferKind,
    pub debit: Book,
    pub credit: Book,
    /// Always positive.
    pub amount_micros: Micros,
    pub grant_id: Option<String>,
    pub lease_id: Option<String>,
    /// Id of the call or grant behind it, or the name of a job.
    pub cause: String,
    pub actor: String,
    pub created_at: Moment,
}

impl From<Entry> for LedgerEntryView {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            kind: entry.kind,
            debit: entry.debit,
            credit: entry.credit,
            amount_micros: entry.amount,
            grant_id: entry.grant_id,
            lease_id: entry.lease_id,
            cause: entry.cause,
            actor: entry.actor,
            created_at: Moment(entry.created_at),
        }
    }
}

/// One endpoint of a provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamView {
    pub name: String,
    pub provider: ProviderKind,
    pub base_url: String,
    /// Whether an API key is kept; the key itself is never shown.
    pub has_api_key: bool,
    /// Whether further keys take turns with it.
    pub has_further_api_keys: bool,
    pub options: UpstreamOptions,
    pub weight: u32,
    pub priority: i32,
    /// Null is unlimited.
    pub max_concurrency: Option<u32>,
    pub timeouts: Timeouts,
    pub enabled: bool,
    pub created_at: Moment,
    pub updated_at: Moment,
}

impl From<Upstream> for UpstreamView {
    fn from(upstream: Upstream) -> Self {
        Self {
            has_api_key: !upstream.sealed_api_key.is_empty(),
            has_further_api_keys: !upstream.sealed_api_keys.is_empty(),
            // What calls use; the provider's own where none was given.
            base_url: upstream::base_url(upstream.provider, &upstream.base_url, &upstream.options).unwrap_or(upstream.base_url),
            options: upstream.options,
            name: upstream.name,
            provider: upstream.provider,
            weight: upstream.weight,
            priority: upstream.priority,
            max_concurrency: upstream.max_concurrency,
            timeouts: upstream.timeouts,
            enabled: upstream.enabled,
            created_at: Moment(upstream.created_at),
            updated_at: Moment(upstream.updated_at),
        }
    }
}

/// An outage that is played.
#[derive(Debug, Serialize, ToSchema)]
pub struct DrillView {
    pub upstream: String,
    pub until: Moment,
}

/// A model with its prices and routes.
#[derive(Debug, Serialize, ToSchema)]
pub struct CatalogModelView {
    #[schema(example = "openai/gpt-4o-mini")]
    pub id: String,
    pub kind: ModelKind,
    pub display_name: String,
    pub aliases: Vec<String>,
    pub capabilities: Capabilities,
    pub context_window: Option<u64>,
    pub max_input_tokens: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub prices: Vec<Price>,
    /// Where the prices were imported from; null when an admin set them.
    pub source: Option<PriceSourceView>,
    pub routes: Vec<Route>,
    pub routing: Routing,
    /// The vendor.
    pub owner: Option<String>,
    #[schema(format = Date)]
    pub deprecated_at: Option<String>,
    pub enabled: bool,
    pub created_at: Moment,
    pub updated_at: Moment,
}

impl From<Model> for CatalogModelView {
    fn from(model: Model) -> Self {
        Self {
            id: model.id,
            kind: model.kind,
            display_name: model.display_name,
            aliases: model.aliases,
            capabilities: model.capabilities,
            context_window: model.context_window,
            max_input_tokens: model.max_input_tokens,
            max_output_tokens: model.max_output_tokens,
            prices: model.prices,
            source: model.source.map(PriceSourceView::from),
            routes: model.routes,
            routing: model.routing,
            owner: model.owner,
            deprecated_at: model.deprecated_at,
            enabled: model.enabled,
            created_at: Moment(model.created_at),
            updated_at: Moment(model.updated_at),
        }
    }
}

/// The file that prices were imported from.
#[derive(Debug, Serialize, ToSchema)]
pub struct PriceSourceView {
    #[schema(example = "litellm")]
    pub name: String,
    /// SHA-256 of the file, hexadecimal.
    pub file_sha256: String,
    pub imported_at: Moment,
}

impl From<PriceSource> for PriceSourceView {
    fn from(source: PriceSource) -> Self {
        Self { name: source.name, file_sha256: source.file_sha256, imported_at: Moment(source.imported_at) }
    }
}

/// What a model cost from some moment on.
#[derive(Debug, Serialize, ToSchema)]
pub struct PriceRecordView {
    pub id: String,
    pub model: String,
    pub prices: Vec<Price>,
    /// Null when an admin set them.
    pub source: Option<PriceSourceView>,
    pub valid_from: Moment,
    /// Id of the key that set them, or `system`.
    pub created_by: String,
}

impl From<PriceRecord> for PriceRecordView {
    fn from(record: PriceRecord) -> Self {
        Self {
            id: record.id,
            model: record.model_id,
            prices: record.prices,
            source: record.source.map(PriceSourceView::from),
            valid_from: Moment(record.valid_from),
            created_by: record.created_by,
        }
    }
}

/// Who changed what.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    pub id: String,
    /// Id of the key that acted, or `system`.
    pub actor: String,
    #[schema(example = "key.revoke")]
    pub action: String,
    /// Id of what was acted on.
    pub subject: String,
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
    pub created_at: Moment,
}

impl From<AuditEntry> for AuditView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            details: entry.details,
            created_at: Moment(entry.created_at),
        }
    }
}

/// What came of deriving every balance again.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerCheckView {
    /// Wallets and grants looked at.
    pub checked: u64,
    /// At most the first thousand.
    pub differences: Vec<DifferenceView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DifferenceView {
    pub account_id: String,
    /// Which sum of which row.
    pub what: String,
    /// By the ledger's lines.
    pub expected_micros: Micros,
    /// By the row.
    pub found_micros: Micros,
}

impl From<Check> for LedgerCheckView {
    fn from(check: Check) -> Self {
        let view = |difference: Difference| DifferenceView {
            account_id: difference.account_id,
            what: difference.what,
            expected_micros: difference.expected,
            found_micros: difference.found,
        };
        Self { checked: check.checked, differences: check.differences.into_iter().map(view).collect() }
    }
}

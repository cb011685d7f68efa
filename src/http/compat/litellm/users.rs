//! `/user/…`: a user is an account.

use actix_web::{HttpResponse, http::header::CACHE_CONTROL};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    super::decimal,
    caller::{Manager, Reach},
    fields::{Fields, invalid},
    keys::{create, refused},
    shapes::{KeyInfo, KeyWishes},
};
use crate::{
    control::{
        Actor, Control, ControlError, Moment,
        accounts::{self, NewAccount},
        credits::{self, NewGrant},
        foreign, keys,
        keys::CreatedKey,
    },
    domain::{Micros, account::Account, account::AccountStatus, ledger::Category, quota::Limits},
    http::{
        admin::extract::{Json, Query},
        error::ApiError,
    },
};

/// Keys that `/user/info` lists.
const KEYS_SHOWN_MAX: usize = 100;
/// Where mail never arrives; for users without an address.
const NO_MAIL_DOMAIN: &str = "litellm.invalid";

/// What `/user/new` asks for.
struct UserWishes {
    user_id: Option<String>,
    email: String,
    name: Option<String>,
    limits: Limits,
    credits: Option<Micros>,
    with_key: bool,
    key: KeyWishes,
}

impl UserWishes {
    fn take(fields: &mut Fields, now: crate::domain::Timestamp) -> Result<Self, ApiError> {
        let limits = Limits {
            rpm: fields.take("rpm_limit")?.flatten(),
            tpm: fields.take("tpm_limit")?.flatten(),
            rpd: None,
            concurrency: fields.take("max_parallel_requests")?.flatten(),
        };
        let credits = fields.take_micros("max_budget")?.flatten().filter(|micros| *micros > 0);
        if fields.take_text("budget_duration")?.flatten().is_some() {
            let why = "budget_duration: a user's credits are not renewed; give the user's keys a budget_duration, or grant credits again";
            return Err(invalid("budget_duration", why.to_owned()));
        }
        let role = fields.take_text("user_role")?.flatten();
        if role.as_deref().is_some_and(|role| !["internal_user", "customer", "team"].contains(&role)) {
            let why = "user_role must be internal_user; `pixgate admin create` makes admins";
            return Err(invalid("user_role", why.to_owned()));
        }
        let user_id = fields.take_text("user_id")?.flatten();
        let email = fields.take_text("user_email")?.flatten().or_else(|| user_id.as_deref().map(address_of));
        let Some(email) = email else {
            return Err(invalid("user_email", "user_email is required, or a user_id that tells this user from others".to_owned()));
        };
        let with_key = fields.take("auto_create_key")?.flatten().unwrap_or(true);
        let name = fields.take_text("user_alias")?.flatten();
        let key = KeyWishes::take(fields, now)?;
        if !with_key && !key.is_nothing() {
            let why = "auto_create_key is false, but key_alias, models, duration, metadata, key_type and blocked are about a key; make it with /key/generate";
            return Err(invalid("auto_create_key", why.to_owned()));
        }
        Ok(Self { user_id, email, name, limits, credits, with_key, key })
    }
}

/// A user's id may be an address; else it makes one, so that every account has its own.
fn address_of(user_id: &str) -> String {
    if user_id.contains('@') { user_id.to_owned() } else { format!("{user_id}@{NO_MAIL_DOMAIN}") }
}

/// A user as LiteLLM shows it. Amounts are credits.
#[derive(Serialize)]
struct UserView {
    user_id: String,
    /// Kept from keys that may only call models: those are given away more readily.
    user_email: Option<String>,
    user_alias: Option<String>,
    user_role: &'static str,
    spend: Box<RawValue>,
    max_budget: Box<RawValue>,
    rpm_limit: Option<u32>,
    tpm_limit: Option<u64>,
    max_parallel_requests: Option<u32>,
    blocked: bool,
    created_at: Moment,
}

impl UserView {
    async fn of(control: &Control, account: &Account, reach: Reach) -> Result<Self, ApiError> {
        let may_know = reach != Reach::OwnKey;
        let balance = credits::balance(control, &account.id).await?;
        Ok(Self {
            user_id: foreign::name_of(control, foreign::LITELLM, &account.id).await?,
            user_email: may_know.then(|| account.email.clone()),
            user_alias: Some(account.name.clone()).filter(|name| may_know && !name.is_empty()),
            user_role: "internal_user",
            spend: decimal(balance.spent_micros)?,
            max_budget: decimal(balance.granted_micros)?,
            rpm_limit: account.limits.rpm,
            tpm_limit: account.limits.tpm,
            max_parallel_requests: account.limits.concurrency,
            blocked: account.status != AccountStatus::Active,
            created_at: Moment(account.created_at),
        })
    }
}

/// Create a user, LiteLLM's way
///
/// Needs scope `admin`. A user is an account; `max_budget` is granted as credits, once; `rpm_limit`, `tpm_limit` and
/// `max_parallel_requests` are limits of the account. Unless `auto_create_key` is false a key is made, too, with the fields of `/key/generate`.
#[utoipa::path(post, path = "/user/new", tag = "Compatibility", security(("key" = [])),
    request_body(content = serde_json::Value, content_type = "application/json", description = "`user_email` or `user_id`, and LiteLLM's other fields"),
    responses((status = 200, description = "The user; `key` and `token` are there when a key was made"), (status = 400, description = "`invalid_request`, naming the field"),
        (status = 409, description = "The user id, the address or the alias is taken")))]
pub async fn new_user(manager: Manager, Json(mut fields): Json<Fields>) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Answer {
        key: Option<String>,
        token: Option<String>,
        expires: Option<Moment>,
        models: Vec<String>,
        teams: Vec<String>,
        #[serde(flatten)]
        user: UserView,
    }
    manager.must_be_admin()?;
    let wishes = UserWishes::take(&mut fields, manager.control.clock.now())?;
    fields.finish()?;
    let actor = manager.actor();
    let (account, created) = manager.control.to_the_end(|control| async move { make(&control, &actor, wishes).await }).await?;
    let user = UserView::of(&manager.control, &account, manager.reach).await?;
    let answer = Answer {
        token: created.as_ref().map(|created| created.key.id.clone()),
        expires: created.as_ref().and_then(|created| created.key.expires_at).map(Moment),
        models: created.as_ref().and_then(|created| created.key.models.clone()).unwrap_or_default(),
        key: created.map(|created| created.text.expose().to_owned()),
        teams: Vec::new(),
        user,
    };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

async fn make(control: &Control, actor: &Actor, wishes: UserWishes) -> Result<(Account, Option<CreatedKey>), ControlError> {
    if let Some(user_id) = &wishes.user_id {
        match foreign::find_account(control, foreign::LITELLM, user_id).await {
            Ok(_) => return Err(ControlError::Conflict(format!("the user {user_id} exists"))),
            Err(ControlError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    // Whatever can be refused is refused before anything is made.
    keys::check(&wishes.key.new_key().map_err(refused)?, control.clock.now())?;
    wishes.user_id.as_deref().map_or(Ok(()), foreign::check_name)?;
    let new = NewAccount { email: wishes.email, name: wishes.name, verified: true, limits: Some(wishes.limits), plan_id: None };
    let account = accounts::create(control, actor, new).await?;
    if let Some(user_id) = &wishes.user_id {
        foreign::link(control, foreign::LITELLM, user_id, &account.id).await?;
    }
    if let Some(amount_micros) = wishes.credits {
        let grant = NewGrant {
            amount_micros,
            reason: "max_budget of a new user".to_owned(),
            category: Some(Category::Paid),
            priority: None,
            expires_at: None,
        };
        credits::grant(control, actor, &account.id, Some("litellm-user-new"), grant).await?;
    }
    let created = match wishes.with_key {
        true => Some(create(control, actor, &account.id, &wishes.key, None).await?),
        false => None,
    };
    Ok((account, created))
}

#[derive(Debug, Deserialize)]
pub struct UserQuery {
    user_id: Option<String>,
}

/// A user, LiteLLM's way
///
/// `user_id` is the one it was created with, our id of the account, or its e-mail address; without it the caller's own account. Needs scope
/// `admin`, or a key of that account; keys without scope `account` see only themselves in `keys`.
#[utoipa::path(get, path = "/user/info", tag = "Compatibility", security(("key" = [])),
    params(("user_id" = Option<String>, Query, description = "User id, account id or e-mail address")),
    responses((status = 200, description = "`user_info` with spend and granted credits, and `keys`"), (status = 404, description = "No such user in reach")))]
pub async fn user_info(manager: Manager, Query(query): Query<UserQuery>) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Answer {
        user_id: String,
        user_info: UserView,
        keys: Vec<KeyInfo>,
        teams: Vec<String>,
    }
    let control = &manager.control;
    let account = manager.account(query.user_id.as_deref().filter(|id| !id.is_empty())).await?;
    let shown = match manager.reach {
        Reach::OwnKey => vec![manager.identity.key.clone()],
        Reach::OwnAccount | Reach::Everything => keys::live(control, &account.id, KEYS_SHOWN_MAX).await?,
    };
    let mut infos = Vec::with_capacity(shown.len());
    for key in &shown {
        infos.push(KeyInfo::of(control, key).await?);
    }
    let user_info = UserView::of(control, &account, manager.reach).await?;
    let answer = Answer { user_id: user_info.user_id.clone(), user_info, keys: infos, teams: Vec::new() };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

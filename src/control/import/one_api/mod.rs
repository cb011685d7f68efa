//! Accounts, credits, keys, upstreams and models out of the database of one-api or new-api.
//!
//! A user becomes an account with the credits that are left, a token a key that goes on working as it is, a channel an upstream, and
//! each model of the channels a model with a route to every channel that has it.

mod channels;

use super::{Outcome, Report, offer::refusal};
use crate::{
    control::{
        Actor, Control, ControlError, Moment,
        accounts::{self, AccountPatch, NewAccount},
        credits::{self, NewGrant},
        foreign,
        input::check_id,
        keys::{self, NewKey},
    },
    domain::{
        Micros, SECOND,
        account::AccountStatus,
        api_key::{Budget, BudgetPeriod},
        decimal,
        ledger::Category,
    },
    store::{
        self,
        foreign_one_api::{OneApi, Token, User},
    },
    telemetry::redact::Secret,
};

/// Quota units of a credit, unless the options say otherwise.
const UNITS_PER_CREDIT: i64 = 500_000;
const SOURCE_LENGTH_MAX: usize = 40;
/// Where mail never arrives; for users without an address.
const NO_MAIL_DOMAIN: &str = "imported.invalid";
/// The role from which on a user may administer.
const ADMIN_ROLE: i64 = 10;

const ENABLED: i64 = 1;
const TOKEN_DISABLED: i64 = 2;
const TOKEN_EXPIRED: i64 = 3;

/// One import.
struct Import<'a> {
    control: &'a Control,
    actor: Actor,
    /// Name of the database, which tells its users from those of others.
    source: &'a str,
    units_per_credit: i64,
    report: Report,
}

/// Makes what the database holds. `source` names the database, so that a second one can be imported beside it.
pub async fn import(control: &Control, database: OneApi, source: &str, dry_run: bool) -> Result<Report, ControlError> {
    check_id("name", source, SOURCE_LENGTH_MAX)?;
    if source == foreign::LITELLM
        || !source.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    {
        return Err(ControlError::invalid("name", "name must consist of a-z, 0-9, '.', '_' and '-', and not be litellm"));
    }
    let report = Report { dry_run, ..Report::default() };
    let units_per_credit = units_per_credit(&database.options)?;
    let mut import = Import { control, actor: Actor::system(), source, units_per_credit, report };
    import.channels(&database).await?;
    let mut owners = std::collections::HashMap::new();
    for user in &database.users {
        if let Some(account_id) = import.user(user).await? {
            owners.insert(user.id, account_id);
        }
    }
    for token in &database.tokens {
        match owners.get(&token.user_id) {
            Some(account_id) => import.token(token, account_id.as_deref()).await?,
            None => import.report.add("key", shown(token), Outcome::LeftOut, format!("its user {} is not imported", token.user_id)),
        }
    }
    Ok(import.report)
}

fn units_per_credit(options: &[(String, String)]) -> Result<i64, ControlError> {
    let Some((_, text)) = options.iter().find(|(name, _)| name == "QuotaPerUnit") else { return Ok(UNITS_PER_CREDIT) };
    let units = decimal::parse(text).ok().filter(|units| units.fract().is_zero()).and_then(|units| i64::try_from(units.trunc()).ok());
    units
        .filter(|units| *units > 0)
        .ok_or_else(|| ControlError::invalid("QuotaPerUnit", format!("the option QuotaPerUnit is '{text}', which is no number of units")))
}

impl Import<'_> {
    /// Whole micros of so many quota units; a fraction is dropped.
    fn micros(&self, units: i64) -> Micros {
        let micros = i128::from(units) * 1_000_000 / i128::from(self.units_per_credit);
        Micros::try_from(micros).unwrap_or(Micros::MAX)
    }

    /// The account of a user: `None` when there can be none, `Some(None)` when a dry run would make it.
    async fn user(&mut self, user: &User) -> Result<Option<Option<String>>, ControlError> {
        let foreign_id = user.id.to_string();
        let name = format!("{} ({})", user.username, user.id);
        let known = store::foreign::account_of(&self.control.db, self.source, &foreign_id).await?;
        let account_id = match known {
            Some(account_id) => {
                self.report.add("account", name.clone(), Outcome::Unchanged, account_id.clone());
                Some(account_id)
            }
            None => match self.new_account(user, &foreign_id, &name).await? {
                Some(account_id) => account_id,
                None => return Ok(None),
            },
        };
        self.credits(user, account_id.as_deref(), name).await?;
        Ok(Some(account_id))
    }

    /// `None` when the rules are against it, `Some(None)` when a dry run would make it.
    async fn new_account(&mut self, user: &User, foreign_id: &str, name: &str) -> Result<Option<Option<String>>, ControlError> {
        let email = match accounts::normal_email(&user.email) {
            Ok(email) => email,
            Err(_) => format!("{}-{}@{NO_MAIL_DOMAIN}", self.source, user.id),
        };
        let existing = store::accounts::by_email(&self.control.db, &email).await?;
        let mut notes = Vec::new();
        if user.role >= ADMIN_ROLE {
            notes.push("its admin rights are not carried over".to_owned());
        }
        if let Some(account) = existing {
            if !self.report.dry_run {
                foreign::link(self.control, self.source, foreign_id, &account.id).await?;
            }
            notes.push(format!("joined to {}, which has this address", account.id));
            if user.status != ENABLED {
                notes.push("it is disabled there and stays as it is here".to_owned());
            }
            self.report.add("account", name, Outcome::Changed, notes.join("; "));
            return Ok(Some(Some(account.id)));
        }
        let title = Some(user.display_name.trim()).filter(|name| !name.is_empty()).unwrap_or(&user.username);
        let title: String = title.chars().filter(|letter| !letter.is_control()).take(200).collect();
        let new = NewAccount { email: email.clone(), name: Some(title), verified: true, limits: None, plan_id: None };
        let is_active = user.status == ENABLED;
        if !is_active {
            notes.push("suspended, as it was".to_owned());
        }
        notes.insert(0, email);
        if self.report.dry_run {
            self.report.add("account", name, Outcome::Made, notes.join("; "));
            return Ok(Some(None));
        }
        let account = match accounts::create(self.control, &self.actor, new).await {
            Ok(account) => account,
            Err(error) => {
                let why = refusal(Err(error))?.unwrap_or_default();
                self.report.add("account", name, Outcome::LeftOut, why);
                return Ok(None);
            }
        };
        if !is_active {
            let suspended = AccountPatch { status: Some(AccountStatus::Suspended), ..AccountPatch::default() };
            accounts::patch(self.control, &self.actor, &account.id, suspended).await?;
        }
        // Noted last: until then a repetition finds the account by its address and goes on.
        foreign::link(self.control, self.source, foreign_id, &account.id).await?;
        self.report.add("account", name, Outcome::Made, notes.join("; "));
        Ok(Some(Some(account.id)))
    }

    /// Gives what a user has left, once: what it spends at the old gateway afterwards is not taken back here.
    async fn credits(&mut self, user: &User, account_id: Option<&str>, name: String) -> Result<(), ControlError> {
        let amount_micros = self.micros(user.quota);
        if user.quota < 0 {
            self.report.add(
                "credits",
                name,
                Outcome::LeftOut,
                format!("it owes {} units, which are not carried over", user.quota.unsigned_abs()),
            );
            return Ok(());
        }
        if amount_micros == 0 {
            return Ok(());
        }
        let said = format!("{amount_micros} micros");
        let reference = format!("import:{}:{}", self.source, user.id);
        let earlier = match account_id {
            Some(account_id) => store::ledger::grants_of(&self.control.db, account_id).await?,
            None => Vec::new(),
        };
        if earlier.iter().any(|row| row.idempotency_key == reference) {
            self.report.add("credits", name, Outcome::Unchanged, "given before");
            return Ok(());
        }
        let grant = NewGrant {
            amount_micros,
            reason: format!("imported from {}", self.source),
            category: Some(Category::Paid),
            priority: None,
            expires_at: None,
        };
        let outcome = match account_id.filter(|_| !self.report.dry_run) {
            Some(account_id) => credits::grant(self.control, &self.actor, account_id, Some(&reference), grant).await.map(|_| ()),
            None => Ok(()),
        };
        match refusal(outcome)? {
            None => self.report.add("credits", name, Outcome::Made, said),
            Some(why) => self.report.add("credits", name, Outcome::LeftOut, why),
        }
        Ok(())
    }

    async fn token(&mut self, token: &Token, account_id: Option<&str>) -> Result<(), ControlError> {
        let (outcome, why) = self.key(token, account_id).await?;
        self.report.add("key", shown(token), outcome, why);
        Ok(())
    }

    async fn key(&self, token: &Token, account_id: Option<&str>) -> Result<(Outcome, String), ControlError> {
        let text = text_of(token);
        if store::keys::find_by_digest(&self.control.db, self.control.hasher.digests(text.expose()).all()).await?.is_some() {
            return Ok((Outcome::Unchanged, String::new()));
        }
        let now = self.control.clock.now();
        let expires_at = (token.expired_time > 0).then(|| token.expired_time.saturating_mul(SECOND));
        if token.status == TOKEN_EXPIRED || expires_at.is_some_and(|at| at <= now) {
            return Ok((Outcome::LeftOut, "it has expired".to_owned()));
        }
        let new = NewKey {
            title: title_of(token),
            models: list(&token.models),
            budget: (!token.unlimited_quota)
                .then(|| Budget { micros: self.micros(token.remain_quota.max(0)), period: BudgetPeriod::Total }),
            ip_allow: list(&token.networks),
            expires_at: expires_at.map(Moment),
            ..NewKey::default()
        };
        let disabled = token.status == TOKEN_DISABLED;
        let note = if disabled { "blocked, as it was; POST /key/unblock lets it work" } else { "" };
        let made = match account_id.filter(|_| !self.report.dry_run) {
            Some(account_id) => keys::adopt(self.control, &self.actor, account_id, new, &text).await.map(Some),
            None => keys::check_foreign(&text).and_then(|()| keys::check(&new, now)).map(|()| None),
        };
        match made {
            Ok(key) => {
                if let Some(key) = key.filter(|_| disabled) {
                    foreign::block(self.control, &self.actor, &key.id).await?;
                }
                Ok((Outcome::Made, note.to_owned()))
            }
            Err(error) => Ok((Outcome::LeftOut, refusal(Err(error))?.unwrap_or_default())),
        }
    }
}

/// What the holder of a token sends.
fn text_of(token: &Token) -> Secret {
    match token.key.expose() {
        whole if whole.starts_with("sk-") => token.key.clone(),
        bare => Secret::new(format!("sk-{bare}")),
    }
}

/// Tokens in reports, by what is no secret.
fn shown(token: &Token) -> String {
    format!("{} ({})", token.name, token.id)
}

fn title_of(token: &Token) -> String {
    let title: String = token.name.chars().filter(|letter| !letter.is_control()).take(200).collect();
    if title.trim().is_empty() { format!("token {}", token.id) } else { title }
}

/// The items of a list; an empty one allows everything.
fn list(text: &str) -> Option<Vec<String>> {
    let items = text.split([',', '\n', ';']).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned);
    Some(items.collect::<Vec<_>>()).filter(|items| !items.is_empty())
}

//! Joining and proving an address: each function is one transaction over the account, its credentials, tokens, sessions and mails.

use pixgate_entities::{accounts as rows, policies, policy_acceptances, sign_ups};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::{
    Db, StoreError,
    accounts::{self, NewAccount},
    credentials, mail_tokens,
    mail_tokens::{NewToken, Purpose},
    outbox::{self, NewMail},
    seal::Sealer,
    security::{self, SecurityEvent},
    sessions, sql,
};
use crate::domain::{Timestamp, account::Account, api_key::Digest};

/// Where an account came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignUp {
    /// `password`, `google` or `github`.
    pub method: &'static str,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub referral_code: Option<String>,
    /// The `utm_*` fields.
    pub campaign: serde_json::Value,
}

/// A new account of somebody who signed up, with everything that belongs to it.
pub struct Joined<'a> {
    pub account: NewAccount,
    pub password_hash: Option<&'a str>,
    pub sign_up: &'a SignUp,
    pub token: Option<&'a NewToken>,
    pub mail: Option<&'a NewMail>,
    pub event: &'a SecurityEvent,
    /// Id prefix-free source of ids for the acceptances.
    pub new_id: &'a (dyn Fn() -> String + Send + Sync),
}

/// Creates the account. [`StoreError::Conflict`] when the address or the locator is taken.
pub async fn join(db: &Db, sealer: &Sealer, joined: Joined<'_>) -> Result<Account, StoreError> {
    let now = joined.account.created_at;
    db.within(async {
        let transaction = db.begin().await?;
        let account = accounts::insert(&transaction, joined.account).await?;
        if let Some(hash) = joined.password_hash {
            credentials::set_password(&transaction, &account.id, hash, now).await?;
        }
        let sign_up = sign_ups::Model {
            account_id: account.id.clone(),
            method: joined.sign_up.method.to_owned(),
            ip: joined.sign_up.ip.clone(),
            user_agent: joined.sign_up.user_agent.clone(),
            referral_code: joined.sign_up.referral_code.clone(),
            campaign: sql::to_json(&joined.sign_up.campaign)?,
            age_confirmed_at: Some(now),
            created_at: now,
        };
        sign_up.into_active_model().insert(&transaction).await?;
        for policy in current_policies(&transaction, now).await? {
            let row = policy_acceptances::Model {
                id: (joined.new_id)(),
                account_id: account.id.clone(),
                document: policy.document,
                version: policy.version,
                ip: joined.sign_up.ip.clone(),
                accepted_at: now,
            };
            row.into_active_model().insert(&transaction).await?;
        }
        if let Some(token) = joined.token {
            mail_tokens::put(&transaction, token).await?;
        }
        if let Some(mail) = joined.mail {
            outbox::put(&transaction, sealer, mail).await?;
        }
        security::put(&transaction, joined.event).await?;
        transaction.commit().await?;
        Ok(account)
    })
    .await
}

/// The newest version of each document that is in force.
async fn current_policies(connection: &impl ConnectionTrait, now: Timestamp) -> Result<Vec<policies::Model>, StoreError> {
    let query = policies::Entity::find().filter(policies::Column::EffectiveAt.lte(now)).order_by_desc(policies::Column::EffectiveAt);
    let mut current: Vec<policies::Model> = Vec::new();
    for policy in query.all(connection).await? {
        if current.iter().all(|known| known.document != policy.document) {
            current.push(policy);
        }
    }
    Ok(current)
}

/// Writes a token and the mail that carries it.
pub async fn send_token(db: &Db, sealer: &Sealer, token: &NewToken, mail: &NewMail) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        mail_tokens::put(&transaction, token).await?;
        outbox::put(&transaction, sealer, mail).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// Uses a verification token up: the address is proven. A password that came with a later registration of the same address takes
/// the place of an earlier one, so that nobody can prepare an account for somebody else's address.
pub async fn verify_email(db: &Db, digest: &Digest, now: Timestamp) -> Result<Option<Account>, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let Some(used) = mail_tokens::consume(&transaction, Purpose::VerifyEmail, digest, now).await? else { return Ok(None) };
        let Some(account_id) = used.account_id else { return Ok(None) };
        let text = "UPDATE accounts SET verified_at = COALESCE(verified_at, $1), updated_at = $1 WHERE id = $2 AND email = $3";
        if sql::execute(&transaction, text, [now.into(), account_id.as_str().into(), used.email.into()]).await? == 0 {
            return Ok(None);
        }
        if let Some(hash) = used.data["password_hash"].as_str() {
            credentials::set_password(&transaction, &account_id, hash, now).await?;
            sessions::end_all(&transaction, &account_id, None).await?;
        }
        let account = accounts::find(&transaction, &account_id).await?;
        transaction.commit().await?;
        Ok(account)
    })
    .await
}

/// Uses a reset token up: the password is new, every session ends, and older links stop working. Whoever got the mail has proven the
/// address as well.
pub async fn reset_password(
    db: &Db,
    sealer: &Sealer,
    digest: &Digest,
    password_hash: &str,
    mail: impl FnOnce(&Account) -> NewMail,
    event: SecurityEvent,
) -> Result<Option<Account>, StoreError> {
    let now = event.created_at;
    db.within(async {
        let transaction = db.begin().await?;
        let Some(used) = mail_tokens::consume(&transaction, Purpose::ResetPassword, digest, now).await? else { return Ok(None) };
        let Some(account_id) = used.account_id else { return Ok(None) };
        let text = "UPDATE accounts SET verified_at = COALESCE(verified_at, $1), updated_at = $1 WHERE id = $2 AND email = $3";
        if sql::execute(&transaction, text, [now.into(), account_id.as_str().into(), used.email.into()]).await? == 0 {
            return Ok(None);
        }
        change_secret(&transaction, &account_id, password_hash, None, now).await?;
        let account = accounts::find(&transaction, &account_id).await?;
        if let Some(account) = &account {
            outbox::put(&transaction, sealer, &mail(account)).await?;
        }
        security::put(&transaction, &SecurityEvent { account_id: Some(account_id), ..event }).await?;
        transaction.commit().await?;
        Ok(account)
    })
    .await
}

/// A new password by its owner; other sessions than `keep` end.
pub async fn change_password(
    db: &Db,
    sealer: &Sealer,
    account_id: &str,
    password_hash: &str,
    keep: Option<&str>,
    mail: &NewMail,
    event: &SecurityEvent,
) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        change_secret(&transaction, account_id, password_hash, keep, event.created_at).await?;
        outbox::put(&transaction, sealer, mail).await?;
        security::put(&transaction, event).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

async fn change_secret(
    connection: &impl ConnectionTrait,
    account_id: &str,
    password_hash: &str,
    keep: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    credentials::set_password(connection, account_id, password_hash, now).await?;
    sessions::end_all(connection, account_id, keep).await?;
    mail_tokens::revoke(connection, account_id, &[Purpose::ResetPassword, Purpose::ChangeEmail, Purpose::VerifyEmail]).await
}

/// Uses a token of a changed address up: the new address counts from now on, and the old one is told.
/// [`StoreError::Conflict`] when somebody else took the address meanwhile.
pub async fn confirm_email(
    db: &Db,
    sealer: &Sealer,
    digest: &Digest,
    mail: impl FnOnce(&Account, &str) -> NewMail,
    event: SecurityEvent,
) -> Result<Option<Account>, StoreError> {
    let now = event.created_at;
    db.within(async {
        let transaction = db.begin().await?;
        let Some(used) = mail_tokens::consume(&transaction, Purpose::ChangeEmail, digest, now).await? else { return Ok(None) };
        let Some(before) = accounts::find(&transaction, used.account_id.as_deref().unwrap_or_default()).await? else { return Ok(None) };
        let change =
            rows::ActiveModel { email: Set(used.email.clone()), verified_at: Set(Some(now)), updated_at: Set(now), ..Default::default() };
        let changed = rows::Entity::update_many().set(change).filter(rows::Column::Id.eq(&before.id)).exec(&transaction).await;
        changed.map_err(|error| accounts::taken(error.into(), &used.email))?;
        mail_tokens::revoke(&transaction, &before.id, &[Purpose::ResetPassword, Purpose::VerifyEmail]).await?;
        outbox::put(&transaction, sealer, &mail(&before, &used.email)).await?;
        security::put(&transaction, &SecurityEvent { account_id: Some(before.id.clone()), ..event }).await?;
        let account = accounts::find(&transaction, &before.id).await?;
        transaction.commit().await?;
        Ok(account)
    })
    .await
}

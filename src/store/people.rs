//! Joining and proving an address: each function is one transaction over the account, its credentials, tokens, sessions and mails.

use pixgate_entities::{accounts as rows, members, sign_ups};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};

use super::{
    Db, StoreError,
    accounts::{self, NewAccount},
    credentials,
    identities::{self, Identity},
    keys, mail_tokens,
    mail_tokens::{NewToken, Purpose},
    outbox::{self, NewMail},
    policies::{self, Acceptance},
    seal::Sealer,
    security::{self, SecurityEvent},
    sessions, sql,
};
use crate::domain::{Timestamp, account::Account, api_key::Digest};

/// Whose tokens those are that [`pretend_to_send`] writes.
const NOBODY: &str = "nobody";
/// Why keys were revoked that stood on an account before its address was proven.
pub const REVOKED_UNPROVEN: &str = "address_proven_by_another";

/// Where an account came from, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSignUp {
    /// `password`, `google` or `github`.
    pub method: String,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub referral_code: Option<String>,
    /// The `utm_*` fields.
    pub campaign: serde_json::Value,
    pub age_confirmed_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

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
    /// Of the provider that somebody signed up with.
    pub identity: Option<&'a Identity>,
    pub token: Option<&'a NewToken>,
    pub mail: Option<&'a NewMail>,
    pub event: &'a SecurityEvent,
    /// Id prefix-free source of ids for the acceptances.
    pub new_id: &'a (dyn Fn() -> String + Send + Sync),
}

/// Creates the account. [`StoreError::Conflict`] when the address, the identity or the locator is taken.
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
        for policy in policies::in_force(&transaction, now).await? {
            let acceptance = Acceptance {
                id: (joined.new_id)(),
                account_id: account.id.clone(),
                document: policy.document,
                version: policy.version,
                ip: joined.sign_up.ip.clone(),
                accepted_at: now,
            };
            policies::accept(&transaction, &acceptance).await?;
        }
        if let Some(identity) = joined.identity {
            identities::put(&transaction, identity).await?;
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

/// Takes as long as [`send_token`] and sends nothing: for addresses that no account has. What it writes opens nothing and is swept next.
pub async fn pretend_to_send(db: &Db, sealer: &Sealer, token: &NewToken, mail: &NewMail) -> Result<(), StoreError> {
    let nobody = NewToken { account_id: None, email: NOBODY.to_owned(), expires_at: token.created_at, ..token.clone() };
    let instead_of_mail = NewToken { id: mail.id.clone(), digest: nobody.digest.map(|byte| !byte), ..nobody.clone() };
    db.within(async {
        let transaction = db.begin().await?;
        mail_tokens::put(&transaction, &nobody).await?;
        outbox::seal(sealer, mail)?;
        mail_tokens::add(&transaction, &instead_of_mail).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// Where somebody came from who signed up by themselves, and what they accepted.
pub async fn sign_up(db: &Db, account_id: &str) -> Result<Option<KeptSignUp>, StoreError> {
    let query = sign_ups::Entity::find_by_id(account_id);
    let Some(row) = db.within(async { Ok::<_, StoreError>(query.one(db.read()).await?) }).await? else { return Ok(None) };
    Ok(Some(KeptSignUp {
        campaign: sql::from_json(&row.campaign, "sign_ups.campaign")?,
        method: row.method,
        ip: row.ip,
        user_agent: row.user_agent,
        referral_code: row.referral_code,
        age_confirmed_at: row.age_confirmed_at,
        created_at: row.created_at,
    }))
}

/// Of two people who registered one address with different passwords only its owner gets on: no link to verify works any more, and
/// `token` sets a password anew.
pub async fn contest(db: &Db, sealer: &Sealer, token: &NewToken, mail: &NewMail) -> Result<(), StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        if let Some(account_id) = &token.account_id {
            mail_tokens::revoke(&transaction, account_id, &[Purpose::VerifyEmail]).await?;
        }
        mail_tokens::put(&transaction, token).await?;
        outbox::put(&transaction, sealer, mail).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// Uses a verification token up: the address is proven.
pub async fn verify_email(db: &Db, digest: &Digest, now: Timestamp) -> Result<Option<Account>, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let Some(used) = mail_tokens::consume(&transaction, Purpose::VerifyEmail, digest, now).await? else { return Ok(None) };
        let Some(account_id) = used.account_id else { return Ok(None) };
        let text = "UPDATE accounts SET verified_at = COALESCE(verified_at, $1), updated_at = $1 WHERE id = $2 AND email = $3";
        if sql::execute(&transaction, text, [now.into(), account_id.as_str().into(), used.email.into()]).await? == 0 {
            return Ok(None);
        }
        let account = accounts::find(&transaction, &account_id).await?;
        transaction.commit().await?;
        Ok(account)
    })
    .await
}

/// Uses a reset token up: the password is new, every session ends, and older links stop working. Whoever got the mail has proven the
/// address as well; what somebody set up before who knew the password but never proved the address goes.
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
        let before = accounts::find(&transaction, &account_id).await?;
        if before.is_some_and(|before| before.verified_at.is_none()) {
            disown(&transaction, &account_id, now).await?;
        }
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

/// Takes away what was set up by somebody who never proved the address: keys, second factor, sign-ins by others, members, links. An
/// account that has neither a password nor a linked identity was set up by the operator and stays as it is.
async fn disown(connection: &impl ConnectionTrait, account_id: &str, now: Timestamp) -> Result<(), StoreError> {
    if !credentials::has_password(connection, account_id).await? && !identities::has_any(connection, account_id).await? {
        return Ok(());
    }
    keys::revoke_all(connection, account_id, REVOKED_UNPROVEN, now).await?;
    credentials::clear_second_factor(connection, account_id, now).await?;
    identities::delete_all(connection, account_id).await?;
    members::Entity::delete_many().filter(members::Column::AccountId.eq(account_id)).exec(connection).await?;
    mail_tokens::revoke_all(connection, account_id).await
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
    identities::revoke_pending(connection, account_id).await?;
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

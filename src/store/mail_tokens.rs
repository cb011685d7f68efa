//! What links in mails stand for: single-use, bound to one purpose, kept as digests.

use pixgate_entities::mail_tokens::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};

use super::{Db, StoreError, sql};
use crate::domain::{Timestamp, api_key::Digest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    VerifyEmail,
    ResetPassword,
    ChangeEmail,
    Invitation,
    PrivacyRequest,
    /// Takes a deletion back.
    KeepAccount,
    Confirmation,
    Download,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
            Self::Invitation => "invitation",
            Self::PrivacyRequest => "privacy_request",
            Self::KeepAccount => "keep_account",
            Self::Confirmation => "confirmation",
            Self::Download => "download",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// `mtk_…`.
    pub id: String,
    pub account_id: Option<String>,
    pub email: String,
    pub purpose: Purpose,
    pub digest: Digest,
    /// What belongs to it; no secrets in clear.
    pub data: serde_json::Value,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// A token that was used up just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub id: String,
    pub account_id: Option<String>,
    pub email: String,
    pub data: serde_json::Value,
}

/// Writes a token; older ones of the same account or address and purpose stop working.
pub(super) async fn put(connection: &impl ConnectionTrait, token: &NewToken) -> Result<(), StoreError> {
    let older = Entity::delete_many().filter(Column::Purpose.eq(token.purpose.as_str())).filter(match &token.account_id {
        Some(account_id) => Column::AccountId.eq(account_id),
        None => Column::Email.eq(&token.email),
    });
    older.exec(connection).await?;
    add(connection, token).await
}

/// Writes a token beside others of its kind.
pub(super) async fn add(connection: &impl ConnectionTrait, token: &NewToken) -> Result<(), StoreError> {
    let model = Model {
        id: token.id.clone(),
        account_id: token.account_id.clone(),
        email: token.email.clone(),
        purpose: token.purpose.as_str().to_owned(),
        digest: token.digest.to_vec(),
        data: sql::to_json(&token.data)?,
        expires_at: token.expires_at,
        used_at: None,
        created_at: token.created_at,
    };
    model.into_active_model().insert(connection).await?;
    Ok(())
}

/// Uses a token up, as part of the caller's transaction. Of many at once only one gets it; `None` when it is unknown, used or too old.
pub(super) async fn consume(
    connection: &impl ConnectionTrait,
    purpose: Purpose,
    digest: &Digest,
    now: Timestamp,
) -> Result<Option<Used>, StoreError> {
    let text = "UPDATE mail_tokens SET used_at = $1 WHERE digest = $2 AND purpose = $3 AND used_at IS NULL AND expires_at > $1";
    if sql::execute(connection, text, [now.into(), digest.to_vec().into(), purpose.as_str().into()]).await? == 0 {
        return Ok(None);
    }
    let model = Entity::find().filter(Column::Digest.eq(digest.to_vec())).one(connection).await?;
    model
        .map(|model| {
            Ok(Used {
                data: sql::from_json(&model.data, "mail_tokens.data")?,
                id: model.id,
                account_id: model.account_id,
                email: model.email,
            })
        })
        .transpose()
}

/// Ends every token of an account that a changed password must not outlive.
pub(super) async fn revoke(connection: &impl ConnectionTrait, account_id: &str, purposes: &[Purpose]) -> Result<(), StoreError> {
    let words = purposes.iter().map(|purpose| purpose.as_str());
    Entity::delete_many().filter(Column::AccountId.eq(account_id)).filter(Column::Purpose.is_in(words)).exec(connection).await?;
    Ok(())
}

/// Ends every token of an account.
pub(super) async fn revoke_all(connection: &impl ConnectionTrait, account_id: &str) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::AccountId.eq(account_id)).exec(connection).await?;
    Ok(())
}

/// Whose token this is, without using it up; `None` when it is unknown, used or too old.
pub async fn holder(db: &Db, purpose: Purpose, digest: &Digest, now: Timestamp) -> Result<Option<String>, StoreError> {
    let query = Entity::find()
        .filter(Column::Digest.eq(digest.to_vec()))
        .filter(Column::Purpose.eq(purpose.as_str()))
        .filter(Column::UsedAt.is_null())
        .filter(Column::ExpiresAt.gt(now));
    db.within(async { Ok(query.one(db.read()).await?.and_then(|row| row.account_id)) }).await
}

/// Answers with the number of tokens that were too old.
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let query = Entity::delete_many().filter(Column::ExpiresAt.lte(now));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected) }).await
}

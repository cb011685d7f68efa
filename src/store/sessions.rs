//! Sign-in links and sessions of owners. What the browser holds is never here, only its digest.

use pixgate_entities::sessions::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::{Db, StoreError, keys, sql};
use crate::domain::{Timestamp, api_key::Digest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sent by mail; good for one sign-in.
    SignInLink,
    Session,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::SignInLink => "sign_in_link",
            Self::Session => "session",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: String,
    pub account_id: String,
    pub digest: Digest,
    pub purpose: Purpose,
    pub expires_at: Timestamp,
    /// When a link was used.
    pub used_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    /// Of a session: the last request, give or take a minute.
    pub last_used_at: Option<Timestamp>,
}

pub async fn insert(db: &Db, session: &Session) -> Result<(), StoreError> {
    let model = Model {
        id: session.id.clone(),
        account_id: session.account_id.clone(),
        digest: session.digest.to_vec(),
        purpose: session.purpose.as_str().to_owned(),
        expires_at: session.expires_at,
        used_at: session.used_at,
        created_at: session.created_at,
        ip: session.ip.clone(),
        user_agent: session.user_agent.clone(),
        last_used_at: session.last_used_at,
    };
    db.within(async {
        model.into_active_model().insert(db.write()).await?;
        Ok(())
    })
    .await
}

/// Uses up a sign-in link; `None` when there is no such link, or it was used, or it expired. Of many at once only one gets it.
pub async fn consume_link(db: &Db, digest: &Digest, now: Timestamp) -> Result<Option<Session>, StoreError> {
    let text = "UPDATE sessions SET used_at = $1 WHERE digest = $2 AND purpose = 'sign_in_link' AND used_at IS NULL AND expires_at > $1";
    db.within(async {
        let transaction = db.begin().await?;
        if sql::execute(&transaction, text, [now.into(), digest.to_vec().into()]).await? == 0 {
            return Ok(None);
        }
        let model = Entity::find().filter(Column::Digest.eq(digest.to_vec())).one(&transaction).await?;
        transaction.commit().await?;
        model.map(from_model).transpose()
    })
    .await
}

/// The session a browser holds, unless it expired.
pub async fn find(db: &Db, digest: &Digest, now: Timestamp) -> Result<Option<Session>, StoreError> {
    let query = Entity::find()
        .filter(Column::Digest.eq(digest.to_vec()))
        .filter(Column::Purpose.eq(Purpose::Session.as_str()))
        .filter(Column::ExpiresAt.gt(now));
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// Notes that a session was used.
pub async fn touch(db: &Db, id: &str, now: Timestamp) -> Result<(), StoreError> {
    let text = "UPDATE sessions SET last_used_at = $1 WHERE id = $2";
    db.within(async {
        sql::execute(db.write(), text, [now.into(), id.into()]).await?;
        Ok(())
    })
    .await
}

/// Signs out; answers `false` when the account had no such session.
pub async fn delete(db: &Db, account_id: &str, id: &str) -> Result<bool, StoreError> {
    let query = Entity::delete_by_id(id).filter(Column::AccountId.eq(account_id));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected > 0) }).await
}

/// Ends every session and link of an account but the one with the id `keep`, as part of the caller's transaction.
pub(super) async fn end_all(connection: &impl ConnectionTrait, account_id: &str, keep: Option<&str>) -> Result<u64, StoreError> {
    let mut query = Entity::delete_many().filter(Column::AccountId.eq(account_id));
    if let Some(keep) = keep {
        query = query.filter(Column::Id.ne(keep));
    }
    Ok(query.exec(connection).await?.rows_affected)
}

/// Ends every session and link of an account but the one with the id `keep`; answers with how many there were.
pub async fn delete_all(db: &Db, account_id: &str, keep: Option<&str>) -> Result<u64, StoreError> {
    db.within(async { end_all(db.write(), account_id, keep).await }).await
}

/// Sessions of an account that have not expired, newest first.
pub async fn list(db: &Db, account_id: &str, now: Timestamp) -> Result<Vec<Session>, StoreError> {
    let query = Entity::find()
        .filter(Column::AccountId.eq(account_id))
        .filter(Column::Purpose.eq(Purpose::Session.as_str()))
        .filter(Column::ExpiresAt.gt(now))
        .order_by_desc(Column::Id);
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// Answers with the number of links and sessions that were expired.
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let query = Entity::delete_many().filter(Column::ExpiresAt.lte(now));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected) }).await
}

fn from_model(model: Model) -> Result<Session, StoreError> {
    Ok(Session {
        digest: keys::digest(model.digest, "sessions.digest")?,
        purpose: [Purpose::SignInLink, Purpose::Session]
            .into_iter()
            .find(|purpose| purpose.as_str() == model.purpose)
            .ok_or_else(|| StoreError::Corrupt(format!("sessions.purpose is {:?}", model.purpose)))?,
        id: model.id,
        account_id: model.account_id,
        expires_at: model.expires_at,
        used_at: model.used_at,
        created_at: model.created_at,
        ip: model.ip,
        user_agent: model.user_agent,
        last_used_at: model.last_used_at,
    })
}

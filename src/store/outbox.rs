//! Mails to be sent. A mail is written in the transaction of its cause, sealed, because links in it sign people in.

use pixgate_entities::outbox::{Column, Entity, Model};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::{Db, StoreError, seal::Sealer, sql};
use crate::domain::{
    Timestamp,
    mail::{Locale, Message},
};

/// A mail that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// `mail_…`.
    pub id: String,
    pub account_id: Option<String>,
    pub recipient: String,
    pub locale: Locale,
    pub message: Message,
    pub created_at: Timestamp,
}

/// What a sealed message is bound to.
fn owner(id: &str) -> String {
    format!("outbox/{id}")
}

/// Puts a mail in, as part of the caller's transaction.
pub(super) async fn put(connection: &impl ConnectionTrait, sealer: &Sealer, mail: &NewMail) -> Result<(), StoreError> {
    let text = sql::to_json(&mail.message)?;
    let model = Model {
        id: mail.id.clone(),
        account_id: mail.account_id.clone(),
        recipient: mail.recipient.clone(),
        kind: mail.message.kind().to_owned(),
        locale: mail.locale.as_str().to_owned(),
        sealed_message: Some(sealer.seal(&owner(&mail.id), &text)?),
        status: "pending".to_owned(),
        attempts: 0,
        next_at: mail.created_at,
        last_error: None,
        created_at: mail.created_at,
        sent_at: None,
    };
    model.into_active_model().insert(connection).await?;
    Ok(())
}

/// Puts a mail in that has no other cause to be written with.
pub async fn enqueue(db: &Db, sealer: &Sealer, mail: &NewMail) -> Result<(), StoreError> {
    db.within(async { put(db.write(), sealer, mail).await }).await
}

/// Messages to an address that wait to be sent, oldest first.
pub async fn waiting_for(db: &Db, sealer: &Sealer, recipient: &str) -> Result<Vec<Message>, StoreError> {
    let query = Entity::find()
        .filter(Column::Recipient.eq(recipient))
        .filter(Column::SealedMessage.is_not_null())
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id);
    db.within(async {
        let rows = query.all(db.read()).await?;
        rows.into_iter()
            .map(|row| {
                let text = sealer.open(&owner(&row.id), row.sealed_message.as_deref().unwrap_or_default())?;
                sql::from_json(&text, "outbox.sealed_message")
            })
            .collect()
    })
    .await
}

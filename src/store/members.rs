//! Who may act for an account besides its own person, and who is invited to.

use pixgate_entities::{
    accounts as people, mail_tokens,
    members::{self, Column, Entity, Model},
};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder};
use serde_json::Value;

use super::{
    Db, StoreError, accounts,
    mail_tokens::{self as tokens, NewToken, Purpose},
    outbox::{self, NewMail},
    seal::Sealer,
    sql,
};
use crate::domain::{Timestamp, account::Account, api_key::Digest, member::Role};

/// A person who may act for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account of the person.
    pub id: String,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub created_at: Timestamp,
}

/// An invitation that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// `mtk_…`.
    pub id: String,
    pub email: String,
    pub role: Role,
    /// The account of the person who invited.
    pub inviter: String,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// What an invitation's token carries.
pub fn invitation_data(role: Role, inviter: &str) -> Value {
    serde_json::json!({ "role": role, "inviter": inviter })
}

/// What `member_id` is to `account_id`; `None` for strangers.
pub async fn role(db: &Db, account_id: &str, member_id: &str) -> Result<Option<Role>, StoreError> {
    db.within(find_role(db.read(), account_id, member_id)).await
}

async fn find_role(connection: &impl ConnectionTrait, account_id: &str, member_id: &str) -> Result<Option<Role>, StoreError> {
    let model = Entity::find_by_id((account_id.to_owned(), member_id.to_owned())).one(connection).await?;
    model.map(|model| sql::from_word(&model.role, "members.role")).transpose()
}

/// The members of an account, first come first; its owner is not among them.
pub async fn list(db: &Db, account_id: &str) -> Result<Vec<Member>, StoreError> {
    db.within(async {
        let rows = Entity::find().filter(Column::AccountId.eq(account_id)).order_by_asc(Column::CreatedAt).order_by_asc(Column::MemberId);
        let rows = rows.all(db.read()).await?;
        let ids = rows.iter().map(|row| row.member_id.as_str());
        let known = people::Entity::find().filter(people::Column::Id.is_in(ids)).all(db.read()).await?;
        let joined = rows.into_iter().filter_map(|row| {
            let person = known.iter().find(|person| person.id == row.member_id)?;
            Some(sql::from_word(&row.role, "members.role").map(|role| Member {
                id: row.member_id,
                email: person.email.clone(),
                name: person.name.clone(),
                role,
                created_at: row.created_at,
            }))
        });
        joined.collect()
    })
    .await
}

/// The accounts that a person is a member of, by id.
pub async fn accounts_of(db: &Db, member_id: &str) -> Result<Vec<(Account, Role)>, StoreError> {
    db.within(async {
        let rows = Entity::find().filter(Column::MemberId.eq(member_id)).order_by_asc(Column::AccountId).all(db.read()).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(account) = accounts::find(db.read(), &row.account_id).await? {
                found.push((account, sql::from_word(&row.role, "members.role")?));
            }
        }
        Ok(found)
    })
    .await
}

/// Takes a member from the role `from` to `to`; `false` when the role is another one by now, or the member is gone.
pub async fn set_role(db: &Db, account_id: &str, member_id: &str, from: Role, to: Role) -> Result<bool, StoreError> {
    let text = "UPDATE members SET role = $1 WHERE account_id = $2 AND member_id = $3 AND role = $4";
    let values = [to.as_str().into(), account_id.into(), member_id.into(), from.as_str().into()];
    db.within(async { Ok(sql::execute(db.write(), text, values).await? > 0) }).await
}

/// Takes a member out; `false` when the role is another one than `from` by now, or the member is gone.
pub async fn remove(db: &Db, account_id: &str, member_id: &str, from: Role) -> Result<bool, StoreError> {
    let query = Entity::delete_by_id((account_id.to_owned(), member_id.to_owned())).filter(Column::Role.eq(from.as_str()));
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected > 0) }).await
}

/// Members and open invitations of an account.
pub async fn count(db: &Db, account_id: &str, now: Timestamp) -> Result<u64, StoreError> {
    db.within(async {
        let members = Entity::find().filter(Column::AccountId.eq(account_id)).count(db.read()).await?;
        Ok(members + open_invitations(account_id, now).count(db.read()).await?)
    })
    .await
}

fn open_invitations(account_id: &str, now: Timestamp) -> sea_orm::Select<mail_tokens::Entity> {
    mail_tokens::Entity::find()
        .filter(mail_tokens::Column::AccountId.eq(account_id))
        .filter(mail_tokens::Column::Purpose.eq(Purpose::Invitation.as_str()))
        .filter(mail_tokens::Column::UsedAt.is_null())
        .filter(mail_tokens::Column::ExpiresAt.gt(now))
}

/// Writes an invitation and its mail; an older one of the same account and address stops working.
pub async fn invite(db: &Db, sealer: &Sealer, token: &NewToken, mail: &NewMail) -> Result<(), StoreError> {
    let older = mail_tokens::Entity::delete_many()
        .filter(mail_tokens::Column::AccountId.eq(token.account_id.as_deref()))
        .filter(mail_tokens::Column::Purpose.eq(token.purpose.as_str()))
        .filter(mail_tokens::Column::Email.eq(&token.email));
    db.within(async {
        let transaction = db.begin().await?;
        older.exec(&transaction).await?;
        tokens::add(&transaction, token).await?;
        outbox::put(&transaction, sealer, mail).await?;
        Ok(transaction.commit().await?)
    })
    .await
}

/// Open invitations, newest first.
pub async fn invitations(db: &Db, account_id: &str, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
    let query = open_invitations(account_id, now).order_by_desc(mail_tokens::Column::Id);
    db.within(async { query.all(db.read()).await?.into_iter().map(from_token).collect() }).await
}

fn from_token(model: mail_tokens::Model) -> Result<Invitation, StoreError> {
    let (role, inviter) = read_data(&sql::from_json(&model.data, "mail_tokens.data")?)?;
    Ok(Invitation { id: model.id, email: model.email, role, inviter, expires_at: model.expires_at, created_at: model.created_at })
}

fn read_data(data: &Value) -> Result<(Role, String), StoreError> {
    let text =
        |name: &str| data[name].as_str().ok_or_else(|| StoreError::Corrupt(format!("mail_tokens.data of an invitation lacks {name}")));
    Ok((sql::from_word(text("role")?, "mail_tokens.data.role")?, text("inviter")?.to_owned()))
}

/// Answers `false` when the account has no such open invitation.
pub async fn withdraw(db: &Db, account_id: &str, id: &str) -> Result<bool, StoreError> {
    let query = mail_tokens::Entity::delete_by_id(id)
        .filter(mail_tokens::Column::AccountId.eq(account_id))
        .filter(mail_tokens::Column::Purpose.eq(Purpose::Invitation.as_str()))
        .filter(mail_tokens::Column::UsedAt.is_null());
    db.within(async { Ok(query.exec(db.write()).await?.rows_affected > 0) }).await
}

/// Uses an invitation up for `person`, who becomes a member. `None` when it is unknown, used or too old, was sent to another address, or
/// whoever sent it may not invite any more; it stays as it is then. [`StoreError::Conflict`] when the person is a member already.
pub async fn accept(db: &Db, digest: &Digest, person: &Account, now: Timestamp) -> Result<Option<(Account, Role)>, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let Some(used) = tokens::consume(&transaction, Purpose::Invitation, digest, now).await? else { return Ok(None) };
        let (role, inviter) = read_data(&used.data)?;
        let Some(account) = accounts::find(&transaction, used.account_id.as_deref().unwrap_or_default()).await? else { return Ok(None) };
        let inviter_role = if inviter == account.id { Some(Role::Owner) } else { find_role(&transaction, &account.id, &inviter).await? };
        if used.email != person.email || !inviter_role.is_some_and(|inviter| inviter.may_move(None, Some(role))) {
            return Ok(None);
        }
        if find_role(&transaction, &account.id, &person.id).await?.is_some() || account.id == person.id {
            return Err(StoreError::Conflict("you act for this account already".to_owned()));
        }
        let row = Model { account_id: account.id.clone(), member_id: person.id.clone(), role: role.as_str().to_owned(), created_at: now };
        members::ActiveModel::insert(row.into_active_model(), &transaction).await?;
        transaction.commit().await?;
        Ok(Some((account, role)))
    })
    .await
}

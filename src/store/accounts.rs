//! Accounts and their wallets' rows. E-mail addresses come normalised from the caller.

use pixgate_entities::{
    accounts::{ActiveModel, Column, Entity, Model},
    wallets,
};
use sea_orm::{
    ActiveModelTrait,
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    prelude::Expr,
    sea_query::{Func, LikeExpr},
};

use super::{
    Db, StoreError,
    outbox::{self, NewMail},
    seal::Sealer,
    sql,
};
use crate::domain::{
    Timestamp,
    account::{Account, AccountStatus},
    quota::Limits,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    pub id: String,
    pub locator: String,
    pub email: String,
    pub name: String,
    pub status: AccountStatus,
    pub verified_at: Option<Timestamp>,
    pub limits: Limits,
    pub plan_id: Option<String>,
    /// The account that admin keys belong to.
    pub is_operator: bool,
    pub locale: String,
    pub created_at: Timestamp,
}

/// What to change; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountPatch {
    pub email: Option<String>,
    pub name: Option<String>,
    pub status: Option<AccountStatus>,
    pub verified_at: Option<Option<Timestamp>>,
    pub limits: Option<Limits>,
    pub plan_id: Option<Option<String>>,
    pub locale: Option<String>,
    pub image_blob: Option<Option<String>>,
    pub restricted_at: Option<Option<Timestamp>>,
    pub objected_at: Option<Option<Timestamp>>,
    pub keep_content: Option<Option<bool>>,
}

/// Creates an account with an empty wallet. [`StoreError::Conflict`] when the e-mail address or the locator is taken.
pub async fn create(db: &Db, new: NewAccount) -> Result<Account, StoreError> {
    db.within(async {
        let transaction = db.begin().await?;
        let account = insert(&transaction, new).await?;
        transaction.commit().await?;
        Ok(account)
    })
    .await
}

/// [`create`] as part of the caller's transaction.
pub(super) async fn insert(connection: &impl ConnectionTrait, new: NewAccount) -> Result<Account, StoreError> {
    let email = new.email.clone();
    let model = Model {
        id: new.id,
        locator: new.locator,
        email: new.email,
        name: new.name,
        status: sql::to_word(&new.status)?,
        verified_at: new.verified_at,
        limits: sql::to_json(&new.limits)?,
        plan_id: new.plan_id,
        is_operator: new.is_operator,
        locale: new.locale,
        image_blob: None,
        restricted_at: None,
        objected_at: None,
        keep_content: None,
        created_at: new.created_at,
        updated_at: new.created_at,
    };
    let wallet = wallets::Model { account_id: model.id.clone(), debt_micros: 0, overage_micros: 0 };
    model.clone().into_active_model().insert(connection).await.map_err(|error| taken(error.into(), &email))?;
    wallet.into_active_model().insert(connection).await?;
    from_model(model)
}

/// [`get`] as part of the caller's transaction.
pub(super) async fn find(connection: &impl ConnectionTrait, id: &str) -> Result<Option<Account>, StoreError> {
    Entity::find_by_id(id).one(connection).await?.map(from_model).transpose()
}

pub async fn get(db: &Db, id: &str) -> Result<Option<Account>, StoreError> {
    db.within(async { Entity::find_by_id(id).one(db.read()).await?.map(from_model).transpose() }).await
}

pub async fn by_locator(db: &Db, locator: &str) -> Result<Option<Account>, StoreError> {
    db.within(async { Entity::find().filter(Column::Locator.eq(locator)).one(db.read()).await?.map(from_model).transpose() }).await
}

pub async fn by_email(db: &Db, email: &str) -> Result<Option<Account>, StoreError> {
    db.within(async { Entity::find().filter(Column::Email.eq(email)).one(db.read()).await?.map(from_model).transpose() }).await
}

/// The first operator account.
pub async fn operator(db: &Db) -> Result<Option<Account>, StoreError> {
    let query = Entity::find().filter(Column::IsOperator.eq(true)).order_by_asc(Column::Id);
    db.within(async { query.one(db.read()).await?.map(from_model).transpose() }).await
}

/// Accounts by id, newest first, behind the one named `after`; `q` finds parts of the e-mail address, the name or the id.
pub async fn list(db: &Db, q: Option<&str>, after: Option<&str>, limit: u64) -> Result<Vec<Account>, StoreError> {
    let mut query = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(q) = q {
        let pattern = LikeExpr::new(sql::like_pattern(q)).escape('!');
        let matches = |column: Column| Expr::expr(Func::lower(Expr::col(column))).like(pattern.clone());
        query = query.filter(Condition::any().add(matches(Column::Email)).add(matches(Column::Name)).add(matches(Column::Id)));
    }
    if let Some(after) = after {
        query = query.filter(Column::Id.lt(after));
    }
    db.within(async { query.all(db.read()).await?.into_iter().map(from_model).collect() }).await
}

/// Those of these blobs that an account names as its image.
pub async fn named_blobs(db: &Db, blobs: &[String]) -> Result<Vec<String>, StoreError> {
    let query = Entity::find().select_only().column(Column::ImageBlob).filter(Column::ImageBlob.is_in(blobs));
    db.within(async { Ok(query.into_tuple::<String>().all(db.read()).await?) }).await
}

pub async fn count(db: &Db) -> Result<u64, StoreError> {
    db.within(async { Ok(Entity::find().count(db.read()).await?) }).await
}

/// Changes an account and answers with all of it. [`StoreError::NotFound`], or [`StoreError::Conflict`] on a taken e-mail address.
pub async fn update(db: &Db, id: &str, patch: AccountPatch, now: Timestamp) -> Result<Account, StoreError> {
    change(db, id, patch, now, None).await
}

/// The same with mails that go out if, and only if, the change is made.
pub async fn update_with_mails(
    db: &Db,
    sealer: &Sealer,
    id: &str,
    patch: AccountPatch,
    mails: &[NewMail],
    now: Timestamp,
) -> Result<Account, StoreError> {
    change(db, id, patch, now, Some((sealer, mails))).await
}

async fn change(
    db: &Db,
    id: &str,
    patch: AccountPatch,
    now: Timestamp,
    mails: Option<(&Sealer, &[NewMail])>,
) -> Result<Account, StoreError> {
    let email = patch.email.clone().unwrap_or_default();
    let mut change = ActiveModel { updated_at: Set(now), ..Default::default() };
    if let Some(email) = patch.email {
        change.email = Set(email);
    }
    if let Some(name) = patch.name {
        change.name = Set(name);
    }
    if let Some(status) = patch.status {
        change.status = Set(sql::to_word(&status)?);
    }
    if let Some(verified_at) = patch.verified_at {
        change.verified_at = Set(verified_at);
    }
    if let Some(limits) = patch.limits {
        change.limits = Set(sql::to_json(&limits)?);
    }
    if let Some(plan_id) = patch.plan_id {
        change.plan_id = Set(plan_id);
    }
    if let Some(locale) = patch.locale {
        change.locale = Set(locale);
    }
    if let Some(image_blob) = patch.image_blob {
        change.image_blob = Set(image_blob);
    }
    if let Some(restricted_at) = patch.restricted_at {
        change.restricted_at = Set(restricted_at);
    }
    if let Some(objected_at) = patch.objected_at {
        change.objected_at = Set(objected_at);
    }
    if let Some(keep_content) = patch.keep_content {
        change.keep_content = Set(keep_content);
    }
    db.within(async {
        let transaction = db.begin().await?;
        let changed = Entity::update_many()
            .set(change)
            .filter(Column::Id.eq(id))
            .exec(&transaction)
            .await
            .map_err(|error| taken(error.into(), &email))?;
        if changed.rows_affected == 0 {
            return Err(StoreError::NotFound(format!("account {id}")));
        }
        if let Some((sealer, mails)) = mails {
            for mail in mails {
                outbox::put(&transaction, sealer, mail).await?;
            }
        }
        let model = Entity::find_by_id(id).one(&transaction).await?;
        transaction.commit().await?;
        model.map(from_model).transpose()?.ok_or_else(|| StoreError::NotFound(format!("account {id}")))
    })
    .await
}

/// Says in words which unique value was taken.
pub(super) fn taken(error: StoreError, email: &str) -> StoreError {
    match error {
        StoreError::Conflict(message) if message.contains("email") => {
            StoreError::Conflict(format!("an account with the e-mail address {email} exists"))
        }
        other => other,
    }
}

fn from_model(model: Model) -> Result<Account, StoreError> {
    Ok(Account {
        status: sql::from_word(&model.status, "accounts.status")?,
        limits: sql::from_json(&model.limits, "accounts.limits")?,
        id: model.id,
        locator: model.locator,
        email: model.email,
        name: model.name,
        verified_at: model.verified_at,
        plan_id: model.plan_id,
        is_operator: model.is_operator,
        locale: model.locale,
        image_blob: model.image_blob,
        restricted_at: model.restricted_at,
        objected_at: model.objected_at,
        keep_content: model.keep_content,
        created_at: model.created_at,
        updated_at: model.updated_at,
    })
}

//! Who calls, and how far that key reaches.

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use futures_util::future::LocalBoxFuture;

use crate::{
    actors::account::Identity,
    control::{Actor, Control, ControlError, foreign},
    domain::{account::Account, api_key::ApiKey, api_key::Scope, refusal::Refusal},
    http::{error::ApiError, parts},
};

/// What a caller may see and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Scope `admin`.
    Everything,
    /// Scope `account`: the keys of its own account.
    OwnAccount,
    /// Scope `inference`: may only look at itself.
    OwnKey,
}

/// A proven caller.
pub struct Manager {
    pub control: web::Data<Control>,
    pub reach: Reach,
    /// The calling key and its account.
    pub identity: Identity,
}

impl Manager {
    pub fn actor(&self) -> Actor {
        Actor { id: self.identity.key.id.clone() }
    }

    /// The account a lookup is confined to.
    pub fn confined_to(&self) -> Option<&str> {
        (self.reach != Reach::Everything).then_some(self.identity.account_id.as_str())
    }

    /// Refuses keys that may only look.
    pub fn may_write(&self) -> Result<(), ApiError> {
        match self.reach {
            Reach::Everything | Reach::OwnAccount => Ok(()),
            Reach::OwnKey => Err(Refusal::ScopeMissing(Scope::Account.as_str()).into()),
        }
    }

    pub fn must_be_admin(&self) -> Result<(), ApiError> {
        match self.reach {
            Reach::Everything => Ok(()),
            Reach::OwnAccount | Reach::OwnKey => Err(Refusal::ScopeMissing(Scope::Admin.as_str()).into()),
        }
    }

    /// The account of a `user_id`, the caller's own without one. Accounts out of reach do not exist.
    pub async fn account(&self, user_id: Option<&str>) -> Result<Account, ApiError> {
        let name = user_id.unwrap_or(&self.identity.account_id);
        let account = foreign::find_account(&self.control, foreign::LITELLM, name).await?;
        if self.confined_to().is_some_and(|own| own != account.id) {
            return Err(ApiError::not_found("there is no such user in reach of this key; leave user_id out to mean your own account"));
        }
        Ok(account)
    }

    /// A key by its text or id, to be changed. Only admins change keys that may administer: whoever can replace such a key is one.
    pub async fn key_to_change(&self, name: &str) -> Result<ApiKey, ApiError> {
        let key = self.key(name).await?;
        self.may_change(&key)?;
        Ok(key)
    }

    pub fn may_change(&self, key: &ApiKey) -> Result<(), ApiError> {
        if key.has_scope(Scope::Admin) { self.must_be_admin() } else { self.may_write() }
    }

    /// A key by its text or id. Keys out of reach do not exist.
    pub async fn key(&self, name: &str) -> Result<ApiKey, ApiError> {
        let key = foreign::find_key(&self.control, self.confined_to(), name).await?;
        if self.reach == Reach::OwnKey && key.id != self.identity.key.id {
            return Err(ControlError::NotFound("this key".to_owned()).into());
        }
        Ok(key)
    }
}

impl FromRequest for Manager {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (control, reader) = (parts::control(&request)?, parts::caller_reader(&request)?);
            let mut refusal = None;
            let scopes = [(Scope::Admin, Reach::Everything), (Scope::Account, Reach::OwnAccount), (Scope::Inference, Reach::OwnKey)];
            for (scope, reach) in scopes {
                match control.accounts.authenticate(&reader.read(&request, scope)?).await {
                    Ok(identity) => return Ok(Self { control, reach, identity }),
                    Err(missing @ Refusal::ScopeMissing(_)) => refusal = Some(missing),
                    Err(other) => return Err(other.into()),
                }
            }
            Err(refusal.unwrap_or(Refusal::ScopeMissing(Scope::Admin.as_str())).into())
        })
    }
}

//! Who asks for something of the account API: an owner with a session cookie, or a key of scope `account`.

use actix_web::{FromRequest, HttpRequest, cookie::Cookie, dev::Payload, http::header, web};
use futures_util::future::LocalBoxFuture;

use crate::{
    control::{
        Control, ControlError,
        owner::{self, Owner},
    },
    domain::{api_key::Scope, member::Permission, refusal::Refusal},
    http::{error::ApiError, parts},
};

/// The session cookie. Browsers take the first name over TLS only, and only for the whole host.
const SECURE_COOKIE: &str = "__Host-px_session";
const PLAIN_COOKIE: &str = "px_session";
/// Members of a team say with it which account they act for.
const ACTING_FOR: &str = "x-pixgate-account";
const CSRF_HEADER: &str = "x-csrf-token";

/// Somebody who may act for an account, and what may be done.
pub struct Account {
    pub control: web::Data<Control>,
    pub owner: Owner,
    /// The token of the session cookie, unless a key was used.
    pub session_token: Option<String>,
}

impl Account {
    /// Refuses what the caller's role does not allow.
    pub fn require(self, permission: Permission) -> Result<Self, ApiError> {
        self.owner.require(permission)?;
        Ok(self)
    }

    /// Does a change to its end, also when the owner hangs up half-way.
    pub async fn change<T, F>(self, work: impl FnOnce(Control, Owner) -> F) -> Result<T, ApiError>
    where
        T: 'static,
        F: Future<Output = Result<T, ControlError>> + 'static,
    {
        let owner = self.owner;
        Ok(self.control.to_the_end(|control| work(control, owner)).await?)
    }
}

impl FromRequest for Account {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let control = parts::control(&request)?;
            let Some(cookie) = session_cookie(&request) else {
                let identity = control.accounts.authenticate(&parts::caller_reader(&request)?.read(&request, Scope::Account)?).await?;
                let owner = owner::of_key(&control, &identity.account_id, &identity.key.id).await?;
                return Ok(Self { control, owner, session_token: None });
            };
            let token = cookie.value().to_owned();
            if !request.method().is_safe() {
                check_origin(&request, &control)?;
                let presented = request.headers().get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
                if !owner::is_csrf_token(&control, &token, presented) {
                    return Err(Refusal::NotOurPage("x-csrf-token is missing or wrong; GET /api/v1/me gives it as csrf_token").into());
                }
            }
            let acting_for = request.headers().get(ACTING_FOR).and_then(|value| value.to_str().ok()).map(str::trim);
            let owner = owner::of_session(&control, &token, acting_for).await?;
            Ok(Self { control, owner, session_token: Some(token) })
        })
    }
}

pub fn session_cookie(request: &HttpRequest) -> Option<Cookie<'static>> {
    request.cookie(SECURE_COOKIE).or_else(|| request.cookie(PLAIN_COOKIE))
}

/// The name of the session cookie that this gateway sets.
pub fn cookie_name(control: &Control) -> &'static str {
    if control.site.is_https() { SECURE_COOKIE } else { PLAIN_COOKIE }
}

/// Changes by cookie come from our own pages only.
pub fn check_origin(request: &HttpRequest, control: &Control) -> Result<(), Refusal> {
    let origin = request.headers().get(header::ORIGIN).and_then(|value| value.to_str().ok());
    if origin.is_some_and(|origin| control.site.is_own_origin(origin)) {
        return Ok(());
    }
    Err(Refusal::NotOurPage("Origin must be the public URL of this gateway (server.public_url)"))
}

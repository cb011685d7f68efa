//! What admin routes are given: a proven admin, a JSON body, a query. Every way to fail is an [`ApiError`] that names the field.

use std::time::Duration;

use actix_web::{FromRequest, HttpRequest, dev::Payload, error::QueryPayloadError, web};
use futures_util::future::{LocalBoxFuture, Ready, ready};
use serde::de::DeserializeOwned;

use crate::{
    control::{Actor, Control, ControlError},
    domain::api_key::Scope,
    http::{
        body::{self, BodyLimits},
        error::ApiError,
        parts,
    },
};

/// Bodies of the admin API are small, whatever model calls may send.
const BYTES_MAX: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Somebody with a key of scope `admin`, and what may be done.
pub struct Admin {
    pub control: web::Data<Control>,
    pub actor: Actor,
}

impl Admin {
    /// Does a change to its end, also when the admin hangs up half-way.
    pub async fn change<T, F>(self, work: impl FnOnce(Control, Actor) -> F) -> Result<T, ApiError>
    where
        T: 'static,
        F: Future<Output = Result<T, ControlError>> + 'static,
    {
        let actor = self.actor;
        Ok(self.control.to_the_end(|control| work(control, actor)).await?)
    }
}

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (control, reader) = (parts::control(&request)?, parts::caller_reader(&request)?);
            let presented = reader.read(&request, Scope::Admin)?;
            let identity = control.accounts.authenticate(&presented).await?;
            Ok(Self { control, actor: Actor { id: identity.key.id } })
        })
    }
}

/// A JSON body. Its content type is not looked at; no body at all is an empty object.
pub struct Json<T, const LIMIT: usize = BYTES_MAX>(pub T);

impl<T: DeserializeOwned + 'static, const LIMIT: usize> FromRequest for Json<T, LIMIT> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = web::Payload::from_request(&request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|error| ApiError::invalid(format!("the body cannot be read: {error}"), None))?;
            let bytes = body::read(&request, payload, BodyLimits { bytes_max: LIMIT, timeout: TIMEOUT }).await?;
            parse(if bytes.is_empty() { b"{}" } else { &bytes }).map(Self)
        })
    }
}

/// The query of a request.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = web::Query::<T>::from_query(request.query_string()).map_err(|error| match error {
            QueryPayloadError::Deserialize(why) => ApiError::invalid(format!("the query is wrong: {why}"), None),
            other => ApiError::invalid(format!("the query is wrong: {other}"), None),
        });
        ready(query.map(|query| Self(query.into_inner())))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // Serde would take an array for an object with its fields in order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::invalid("the body must be a JSON object, not an array", None));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

fn explain(path: &str, error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    if !error.is_data() {
        return ApiError::invalid(format!("the body is not valid JSON: {text}"), None);
    }
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let is_root = path == "." || path == "?";
    // A field that is missing or unknown is named by the message, not by the path.
    let named = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))
        .and_then(|rest| rest.split_once('`'))
        .map(|(field, _)| field)
        .filter(|field| path.rsplit('.').next() != Some(*field));
    let param = match (is_root, named) {
        (true, None) => None,
        (true, Some(field)) => Some(field.to_owned()),
        (false, None) => Some(path.to_owned()),
        (false, Some(field)) => Some(format!("{path}.{field}")),
    };
    let message = match &param {
        Some(param) => format!("{param}: {message}"),
        None => format!("the body is wrong: {message}"),
    };
    ApiError::invalid(message, param.map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{accounts::NewAccount, credits::NewGrant, keys::NewKey};

    #[track_caller]
    fn check<T: DeserializeOwned>(body: &str, param: Option<&str>, says: &str) {
        let error = parse::<T>(body.as_bytes()).err().unwrap();
        assert_eq!((error.status.as_u16(), error.code), (400, "invalid_request"));
        assert_eq!(error.param.as_deref(), param, "{}", error.message);
        assert!(error.message.contains(says), "{}", error.message);
    }

    #[test]
    fn errors_name_the_field() {
        check::<NewAccount>(r#" ["a@b"]"#, None, "not an array");
        check::<NewAccount>("{}", Some("email"), "missing field");
        check::<NewAccount>(r#"{"email":"a@b","colour":1}"#, Some("colour"), "unknown field");
        check::<NewAccount>(r#"{"email":"a@b","email":"c@d"}"#, Some("email"), "duplicate field");
        check::<NewAccount>(r#"{"email":7}"#, Some("email"), "expected a string");
        check::<NewAccount>(r#"{"email":"a@b","limits":{"rpm":-1}}"#, Some("limits.rpm"), "u32");
        check::<NewAccount>(r#"{"email":"a@b","limits":{"speed":1}}"#, Some("limits.speed"), "unknown field");
        check::<NewKey>(r#"{"title":"t","scopes":["root"]}"#, Some("scopes[0]"), "unknown variant `root`");
        check::<NewKey>(r#"{"title":"t","budget":{"micros":1}}"#, Some("budget.period"), "missing field");
        check::<NewKey>(r#"{"title":"t","expires_at":"soon"}"#, Some("expires_at"), "is not a time");
        check::<NewGrant>(r#"{"amount_micros":1.5,"reason":"r"}"#, Some("amount_micros"), "1.5");
        check::<NewGrant>(r#"{"amount_micros":99999999999999999999,"reason":"r"}"#, Some("amount_micros"), "i64");
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        check::<NewAccount>("", None, "not valid JSON");
        check::<NewAccount>("{", None, "not valid JSON");
        check::<NewAccount>(r#"{"email":"a@b"} trailing"#, None, "not valid JSON");
        check::<NewAccount>("[]", None, "not an array");
        check::<NewAccount>("7", None, "the body is wrong");
        assert!(parse::<NewAccount>(b"{\"email\":\"\xff\"}").is_err());
        let deep = format!("{{\"email\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        assert!(parse::<NewAccount>(deep.as_bytes()).is_err());
    }
}

//! The one place that knows which status a refusal or failure has, and how it reads on the wire.

use std::{borrow::Cow, fmt};

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode, http::header};

use crate::{
    actors::account::RateState,
    control::ControlError,
    dialect::{Dialect, ErrorBody, errors::error_body},
    domain::{
        identity::IdentityRefusal,
        refusal::{LimitKind, LimitScope, Refusal},
    },
    http::headers::{self, Audience},
    pipeline::{CallError, Facts, FailureClass},
    upstream::Failure,
};

/// An answer that is not the one asked for, ready for the wire.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub status: StatusCode,
    /// Machine-readable code, for example `rate_limit_exceeded`.
    pub code: &'static str,
    pub message: String,
    pub param: Option<Cow<'static, str>>,
    pub limit: Option<LimitKind>,
    pub scope: Option<LimitScope>,
    pub retry_after_ms: Option<u64>,
    /// False when asking again cannot help.
    pub retry: bool,
    pub rate: Option<Box<RateState>>,
    /// What is known of the attempt, when an upstream was called.
    pub facts: Option<Box<Facts>>,
    /// The methods that the path has, when the request used another.
    pub allow: Option<&'static str>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            limit: None,
            scope: None,
            retry_after_ms: None,
            retry: true,
            rate: None,
            facts: None,
            allow: None,
        }
    }

    pub fn invalid(message: impl Into<String>, param: Option<Cow<'static, str>>) -> Self {
        Self { param, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request", message) }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// A method that the path does not have; `methods` are those it has.
    pub fn method_not_allowed(request: &HttpRequest, methods: &'static str) -> Self {
        let message = format!("{} does not work on {}; use {methods}", request.method(), request.path());
        Self { allow: Some(methods), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message) }
    }

    pub fn retry_after(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }

    /// Asking again changes nothing.
    fn never_retry(mut self) -> Self {
        self.retry = false;
        self
    }

    fn limited(mut self, limit: LimitKind, scope: LimitScope) -> Self {
        self.limit = Some(limit);
        self.scope = Some(scope);
        self
    }

    /// The `type` that official SDKs tell errors apart by.
    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            402 => "insufficient_quota",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }

    pub fn body<'a>(&'a self, request_id: &'a str) -> ErrorBody<'a> {
        ErrorBody {
            status: self.status.as_u16(),
            message: self.message.as_str().into(),
            kind: self.kind().into(),
            param: self.param.as_deref().map(Cow::from),
            code: self.code.into(),
            request_id: request_id.into(),
            limit: self.limit.map(LimitKind::as_str),
            scope: self.scope.map(LimitScope::as_str),
        }
    }

    /// The whole answer in the caller's dialect, with the id of the request it belongs to.
    pub fn respond(&self, request_id: &str, audience: Audience) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, "application/json"));
        if let Some(milliseconds) = self.retry_after_ms {
            response.insert_header((header::RETRY_AFTER, milliseconds.div_ceil(1_000).max(1).to_string()));
            response.insert_header(("retry-after-ms", milliseconds.to_string()));
        }
        if !self.retry || matches!(self.status, StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN) {
            // Official SDKs obey it: asking again changes nothing.
            response.insert_header(("x-should-retry", "false"));
        }
        if let Some(methods) = self.allow {
            response.insert_header((header::ALLOW, methods));
        }
        let mut response = response.body(error_body(audience.dialect, &self.body(request_id)));
        if let Some(rate) = &self.rate {
            headers::insert_rate(response.headers_mut(), rate, audience);
        }
        if let Some(facts) = &self.facts {
            headers::insert_facts(response.headers_mut(), facts, audience);
        }
        response
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.status.as_u16(), self.code, self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// Without a request id; the middleware renders it again with one.
    fn error_response(&self) -> HttpResponse {
        self.respond("", Audience { dialect: Dialect::OpenAi, now: 0 })
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::InvalidKey(_) => Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", text),
            Refusal::EmailUnverified => Self::new(StatusCode::FORBIDDEN, "email_unverified", text),
            Refusal::AccountNotActive(_) => Self::new(StatusCode::FORBIDDEN, "account_suspended", text),
            Refusal::ProcessingRestricted => Self::new(StatusCode::FORBIDDEN, "processing_restricted", text),
            Refusal::InvalidCredentials => Self::new(StatusCode::UNAUTHORIZED, "invalid_credentials", text),
            Refusal::SecondFactorRequired => Self::new(StatusCode::UNAUTHORIZED, "second_factor_required", text),
            Refusal::WrongCode(_) => Self { param: Some("code".into()), ..Self::new(StatusCode::UNAUTHORIZED, "invalid_code", text) },
            Refusal::LinkSpent(_) => Self { param: Some("token".into()), ..Self::new(StatusCode::BAD_REQUEST, "invalid_token", text) },
            Refusal::Identity(refusal) => {
                let (status, code) = of_identity(refusal);
                Self::new(status, code, text)
            }
            Refusal::SignUpClosed => Self::new(StatusCode::FORBIDDEN, "sign_up_closed", text),
            Refusal::Throttled { scope, retry_after_ms, .. } => Self {
                scope: Some(scope),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", text).retry_after(retry_after_ms)
            },
            Refusal::RoleMissing { .. } => Self::new(StatusCode::FORBIDDEN, "role_missing", text),
            Refusal::NotOurPage(_) => Self::new(StatusCode::FORBIDDEN, "csrf_failed", text),
            Refusal::ScopeMissing(_) => Self::new(StatusCode::FORBIDDEN, "scope_missing", text),
            Refusal::ScopeNotYours(_) => Self::new(StatusCode::FORBIDDEN, "scope_not_allowed", text),
            Refusal::BadSignature(_) => Self::new(StatusCode::UNAUTHORIZED, "invalid_signature", text),
            Refusal::ModelNotAllowed(_) => Self::new(StatusCode::FORBIDDEN, "model_not_allowed", text),
            Refusal::IpNotAllowed(_) => Self::new(StatusCode::FORBIDDEN, "ip_not_allowed", text),
            Refusal::ContentScreened { .. } | Refusal::NotScreened => Self::new(StatusCode::FORBIDDEN, "content_screened", text),
            Refusal::ModelNotFound(_) => Self { param: Some("model".into()), ..Self::new(StatusCode::NOT_FOUND, "model_not_found", text) },
            Refusal::RateLimited { limit, scope, retry_after_ms, .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", text).limited(limit, scope).retry_after(retry_after_ms)
            }
            Refusal::NeverFits { scope, .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", text).limited(LimitKind::Tpm, scope).never_retry()
            }
            Refusal::InsufficientCredits { .. } | Refusal::InDebt { .. } => {
                Self { scope: Some(LimitScope::Account), ..Self::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", text) }
            }
            Refusal::BudgetExhausted { .. } => {
                Self::new(StatusCode::PAYMENT_REQUIRED, "insufficient_credits", text).limited(LimitKind::Budget, LimitScope::Key)
            }
            Refusal::PreviousResponseNotFound(_) => Self {
                param: Some("previous_response_id".into()),
                ..Self::new(StatusCode::BAD_REQUEST, "previous_response_not_found", text)
            },
            Refusal::Invalid { param, .. } => Self::invalid(text, param.map(Cow::from)),
            Refusal::TooLarge { .. } | Refusal::FilesTooLarge { .. } | Refusal::FileTooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", text)
            }
            Refusal::TicketsLimited { retry_after_ms, .. } => Self {
                scope: Some(LimitScope::Account),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", text).retry_after(retry_after_ms)
            },
            Refusal::IdempotencyConflict(_) => Self::new(StatusCode::CONFLICT, "idempotency_conflict", text),
            Refusal::Overloaded { retry_after_ms, .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text).retry_after(retry_after_ms)
            }
            Refusal::Draining => Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", text).retry_after(1_000),
        }
    }
}

fn of_identity(refusal: IdentityRefusal) -> (StatusCode, &'static str) {
    match refusal {
        IdentityRefusal::StateSpent => (StatusCode::BAD_REQUEST, "invalid_state"),
        IdentityRefusal::SecondFactorSpent => (StatusCode::UNAUTHORIZED, "invalid_state"),
        IdentityRefusal::Denied(_) => (StatusCode::FORBIDDEN, "access_denied"),
        IdentityRefusal::Rejected(_) => (StatusCode::UNAUTHORIZED, "sign_in_rejected"),
        IdentityRefusal::Unavailable(_) => (StatusCode::BAD_GATEWAY, "identity_provider_error"),
        IdentityRefusal::EmailUnverified(_) => (StatusCode::FORBIDDEN, "email_unverified"),
        IdentityRefusal::NotLinked(_) => (StatusCode::CONFLICT, "account_exists"),
        IdentityRefusal::AgreementMissing(_) => (StatusCode::FORBIDDEN, "agreement_missing"),
        IdentityRefusal::LinkedElsewhere(_) | IdentityRefusal::LinkedAlready(_) => (StatusCode::CONFLICT, "identity_linked"),
        IdentityRefusal::LastWayIn(_) => (StatusCode::CONFLICT, "last_way_in"),
        IdentityRefusal::Closed => (StatusCode::FORBIDDEN, "account_suspended"),
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Invalid { message, param } => Self::invalid(message, param.map(Cow::from)),
            ControlError::NotFound(what) => Self::not_found(format!("{what} does not exist")),
            ControlError::Conflict(message) => Self::new(StatusCode::CONFLICT, "conflict", message),
            ControlError::Refused(refusal) => refusal.into(),
            ControlError::Unavailable(message) => {
                tracing::warn!(error = %message, "a control-plane request could not reach the database");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "the database is out of reach; nothing was changed, or ask again to see",
                )
                .retry_after(1_000)
            }
            ControlError::Internal(message) => {
                tracing::error!(error = %message, "a control-plane request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the request failed inside the gateway; its log says why")
            }
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal, rate) => Self { rate, ..refusal.into() },
            CallError::Upstream(failure, facts) => Self { facts, ..failure.into() },
            CallError::UpstreamBusy(what) => {
                let message = format!("'{what}' is at its limit of calls at the same time, and nothing else serves this model; retry soon");
                Self {
                    scope: Some(LimitScope::Upstream),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(1_000)
                }
            }
            CallError::NoRoute(model) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                format!("no enabled upstream serves the model '{model}'; the operator has to add a route"),
            )
            .retry_after(30_000),
            CallError::NotDurable(error) => {
                tracing::error!(error = %error, "an answer was withheld because its charge could not be made durable");
                let message = if error.is_free() {
                    "the ledger could not be written; nothing was charged"
                } else {
                    "the ledger did not confirm the charge in time; GET /v1/generation?id= with the request id tells whether it was booked"
                };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(1_000)
            }
            CallError::Internal(message) => {
                tracing::error!(error = %message, "a call failed inside the gateway");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the call failed inside the gateway; nothing was charged")
            }
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let class = FailureClass::of(&failure);
        let (status, code) = class.shown();
        let error = |message: String| Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), code, message);
        match (class, failure) {
            (FailureClass::BadRequest, Failure::Refused { message, .. }) => error(format!("the upstream refused the request: {message}")),
            (FailureClass::RateLimited, Failure::Refused { message, retry_after_ms, .. }) => Self {
                scope: Some(LimitScope::Upstream),
                ..error(format!("the upstream is rate limited: {message}")).retry_after(retry_after_ms.unwrap_or(1_000))
            },
            // Its own words may name the operator's key or account.
            (_, Failure::Refused { status, .. }) => error(format!("the upstream failed with status {status}; nothing was charged")),
            (_, Failure::Connect(_)) => error("the upstream cannot be reached; nothing was charged".to_owned()),
            (_, failure) => error(format!("the upstream failed: {failure}; nothing was charged")),
        }
    }
}

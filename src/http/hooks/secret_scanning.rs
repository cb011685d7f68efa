//! Reports of leaked keys, as GitHub's secret scanning sends them: `/hooks/secret-scanning`

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, HeaderValue},
    web,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    control::{
        Control,
        leaks::{self, Leak, Verdict},
    },
    http::{
        admin::only,
        body::{self, BodyLimits},
        error::ApiError,
    },
};

const LIMITS: BodyLimits = BodyLimits { bytes_max: 4 * 1024 * 1024, timeout: Duration::from_secs(30) };
const KEY_ID: &str = "github-public-key-identifier";
const SIGNATURE: &str = "github-public-key-signature";

pub fn configure(routes: &mut web::ServiceConfig) {
    let reports = web::resource("/hooks/secret-scanning").route(web::post().to(report_found_keys));
    routes.service(reports.default_service(only("POST")));
}

/// One place where a key was found.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Match {
    /// The name under which the pattern of our keys is registered.
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(flatten)]
    leak: Leak,
}

/// What is said about a match.
#[derive(Serialize, ToSchema)]
pub struct MatchVerdict {
    pub token_raw: String,
    pub token_type: Option<String>,
    pub label: Verdict,
}

/// Reports of leaked keys
///
/// For GitHub's secret scanning and whoever speaks like it: a signed list of matches. Keys of this gateway are revoked at once and their
/// owners told; the answer says of each match whether it was one.
#[utoipa::path(post, path = "/hooks/secret-scanning", tag = "Operations",
    params(("Github-Public-Key-Identifier" = Option<String>, Header, description = "Which key the body is signed with"),
        ("Github-Public-Key-Signature" = Option<String>, Header, description = "ECDSA on P-256 with SHA-256 over the body, DER in base64")),
    request_body = Vec<Match>,
    responses((status = 200, body = Vec<MatchVerdict>), (status = 401, description = "`invalid_signature`"),
        (status = 404, description = "This gateway has no public keys to check reports with")))]
pub async fn report_found_keys(request: HttpRequest, payload: web::Payload, control: web::Data<Control>) -> Result<HttpResponse, ApiError> {
    if !control.leaks.takes_signed_reports() {
        return Err(ApiError::not_found(
            "this gateway takes no signed reports of leaked keys (secret_scanning.public_keys_url); POST /api/v1/keys/report-leak takes any",
        ));
    }
    let bytes = body::read(&request, payload, LIMITS).await?;
    let header = |name: &'static str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| ApiError::invalid(format!("the header {name} is missing"), Some(name.into())))
    };
    leaks::check_signature(&control, header(KEY_ID)?, header(SIGNATURE)?, &bytes).await?;
    let matches: Vec<Match> = serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::invalid(format!("the body is no list of matches: line {}, column {}", error.line(), error.column()), None)
    })?;
    let verdicts = control
        .to_the_end(|control| async move {
            let mut verdicts = Vec::with_capacity(matches.len());
            for Match { kind, leak } in matches {
                let label = leaks::report(&control, "secret-scanning", &leak).await?;
                verdicts.push(MatchVerdict { token_raw: leak.token.expose().to_owned(), token_type: kind, label });
            }
            Ok(verdicts)
        })
        .await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store"))).json(verdicts))
}

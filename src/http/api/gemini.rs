//! The routes of Gemini's dialect. The path says the model and what to do with it: `/v1beta/models/{model}:{method}`.

use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Serialize;

use super::paid::{Parts, paid};
use crate::{
    dialect::{CallHead, Dialect, Endpoint, Framing},
    domain::api_key::Scope,
    http::{body, error::ApiError, headers::Audience, request_id},
    pipeline,
};

/// Gemini call
///
/// Gemini's wire format, below `/v1beta` and `/v1`: `generateContent`, `streamGenerateContent` (events with `alt=sse`, else one JSON array),
/// `countTokens` (our own count, for free), `embedContent` and `batchEmbedContents`. Models of upstreams that speak another format work,
/// too: what cannot be translated is refused, or dropped and named in `x-pixgate-dropped`. `usageMetadata` carries `cost` (credits) and
/// `costMicros`, in a stream that of the last event.
#[utoipa::path(post, path = "/v1beta/models/{model}:{method}", tag = "Models", security(("key" = [])),
    params(("model" = String, Path, description = "Id of the model; `/` may be written `%2F`"),
        ("method" = String, Path, description = "One of those above"),
        ("alt" = Option<String>, Query, description = "`sse` for an event stream"),
        ("key" = Option<String>, Query, description = "The key, where no header can be set"),
        ("x-pixgate-drop-unsupported" = Option<bool>, Header, description = "Drop what the upstream cannot express instead of refusing the call")),
    request_body(content = serde_json::Value, content_type = "application/json", description = "A Gemini request of that method"),
    responses((status = 200, description = "The answer, its stream, or the count"),
        (status = "4XX", description = "A refusal, in Gemini's error shape"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/{version:v1|v1beta}/models/{call:.+}")]
pub async fn call_model(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    parts: Parts,
) -> Result<HttpResponse, ApiError> {
    answer(&path.1, request, payload, parts).await
}

/// Gemini call of a tuned model
///
/// As of any other; the model's id begins with `tunedModels/`.
#[utoipa::path(post, path = "/v1beta/tunedModels/{model}:{method}", tag = "Models", security(("key" = [])),
    params(("model" = String, Path, description = "Id of the model behind `tunedModels/`"), ("method" = String, Path, description = "As of other models")),
    request_body(content = serde_json::Value, content_type = "application/json", description = "A Gemini request of that method"),
    responses((status = 200, description = "The answer, its stream, or the count"),
        (status = "4XX", description = "A refusal, in Gemini's error shape"), (status = "5XX", description = "A failure; nothing is charged")))]
#[post("/{version:v1|v1beta}/tunedModels/{call:.+}")]
pub async fn call_tuned_model(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    parts: Parts,
) -> Result<HttpResponse, ApiError> {
    answer(&format!("tunedModels/{}", path.1), request, payload, parts).await
}

/// The same without `models/`: some clients take an id with a slash for a whole path.
pub async fn call_named(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    parts: Parts,
) -> Result<HttpResponse, ApiError> {
    answer(&path, request, payload, parts).await
}

async fn answer(call: &str, request: HttpRequest, payload: web::Payload, parts: Parts) -> Result<HttpResponse, ApiError> {
    match head(call, request.query_string()) {
        Some(head) if head.counts_only => count(head, &request, payload, parts).await,
        Some(head) => paid(head, request, payload, parts).await,
        None => {
            let error = ApiError::not_found(format!(
                "there is no method like that in {}; use {{model}}:generateContent, :streamGenerateContent, :countTokens, :embedContent or :batchEmbedContents",
                request.path()
            ));
            // Also below `/v1`, where the path alone does not tell the dialect.
            Ok(error.respond(&request_id::of(&request).shown, Audience { dialect: Dialect::Gemini, now: parts.2.now() }))
        }
    }
}

/// What a path asks for. Ids of models may have slashes and colons; the method stands behind the last colon.
fn head(call: &str, query: &str) -> Option<CallHead> {
    let (model, method) = call.rsplit_once(':').filter(|(model, _)| !model.is_empty())?;
    let of = |endpoint| CallHead { model: Some(model.to_owned()), streamed: Some(false), ..CallHead::new(endpoint) };
    let has_events = query.split('&').any(|pair| pair.eq_ignore_ascii_case("alt=sse"));
    let framing = if has_events { Framing::Events } else { Framing::JsonArray };
    Some(match method {
        "generateContent" => of(Endpoint::GenerateContent),
        "streamGenerateContent" => CallHead { streamed: Some(true), framing, ..of(Endpoint::GenerateContent) },
        "countTokens" => CallHead { counts_only: true, ..of(Endpoint::GenerateContent) },
        "embedContent" => of(Endpoint::EmbedContent),
        "batchEmbedContents" => of(Endpoint::BatchEmbedContents),
        _ => return None,
    })
}

async fn count(
    head: CallHead,
    request: &HttpRequest,
    payload: web::Payload,
    (pipeline, reader, _, limits): Parts,
) -> Result<HttpResponse, ApiError> {
    let presented = reader.read(request, Scope::Inference)?;
    let caller = pipeline.accounts.authenticate(&presented).await?;
    let body = body::read(request, payload, **limits).await?;
    let total_tokens = pipeline::count(&pipeline, &caller, head, body).await?;
    let details = [ModalityCount { modality: "TEXT", token_count: total_tokens }];
    Ok(HttpResponse::Ok().json(TokenCount { total_tokens, prompt_tokens_details: details }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenCount {
    /// Rather too high than too low.
    total_tokens: u64,
    prompt_tokens_details: [ModalityCount; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModalityCount {
    modality: &'static str,
    token_count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_the_model_and_the_method() {
        let read = |call: &str, query: &str| {
            head(call, query).map(|head| (head.model.unwrap(), head.endpoint, head.streamed.unwrap(), head.framing, head.counts_only))
        };
        let (plain, array) = (Framing::Events, Framing::JsonArray);
        let expected = |model: &str, endpoint, streamed, framing, counted| Some((model.to_owned(), endpoint, streamed, framing, counted));
        let chat = Endpoint::GenerateContent;
        assert_eq!(read("gemini-x:generateContent", ""), expected("gemini-x", chat, false, plain, false));
        assert_eq!(read("a/b:8b:streamGenerateContent", "alt=sse"), expected("a/b:8b", chat, true, plain, false));
        assert_eq!(read("m:streamGenerateContent", "key=alt"), expected("m", chat, true, array, false));
        assert_eq!(read("m:countTokens", ""), expected("m", chat, false, plain, true));
        assert_eq!(read("tunedModels/m:embedContent", ""), expected("tunedModels/m", Endpoint::EmbedContent, false, plain, false));
        assert_eq!(read("m:batchEmbedContents", ""), expected("m", Endpoint::BatchEmbedContents, false, plain, false));
        for call in ["m", "m:", ":generateContent", "m:predict", "m:generatecontent"] {
            assert_eq!(read(call, ""), None, "{call}");
        }
    }
}

//! OpenRouter's base path `/api/v1`: its list of models, and its other routes as second names of ours under `/v1`.

use std::rc::Rc;

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Uri,
    middleware::Next,
    web,
};
use serde::Serialize;

use crate::{
    actors::catalog::ModelEntry,
    domain::{
        SECOND,
        catalog::ModelKind,
        decimal,
        pricing::{PriceList, Unit},
    },
    http::{admin::only, api::models::caller, error::ApiError, headers::CallerReader},
    pipeline::Pipeline,
};

const BASE: &str = "/api/v1/";

/// What stands behind [`BASE`], and our own path. The account API shares the base, so only whole paths are second names.
const ALIASES: [(&str, &str); 17] = [
    ("chat/completions", "/v1/chat/completions"),
    ("completions", "/v1/completions"),
    ("responses", "/v1/responses"),
    ("messages", "/v1/messages"),
    ("messages/count_tokens", "/v1/messages/count_tokens"),
    ("embeddings", "/v1/embeddings"),
    ("moderations", "/v1/moderations"),
    ("rerank", "/v1/rerank"),
    ("images/generations", "/v1/images/generations"),
    ("images/edits", "/v1/images/edits"),
    ("audio/speech", "/v1/audio/speech"),
    ("audio/transcriptions", "/v1/audio/transcriptions"),
    ("audio/translations", "/v1/audio/translations"),
    ("key", "/v1/key"),
    ("auth/key", "/v1/key"),
    ("credits", "/v1/credits"),
    ("generation", "/v1/generation"),
];

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.service(web::resource("/api/v1/models").route(web::get().to(openrouter_models)).default_service(only("GET")));
}

/// Gives requests to a second name the path of the first, before they are routed.
pub async fn alias<B: MessageBody + 'static>(mut request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    if let Some(uri) = first_name(request.uri()) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

fn first_name(uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix(BASE)?;
    let (_, ours) = ALIASES.iter().find(|(name, _)| *name == rest)?;
    let path = match uri.query() {
        Some(query) => format!("{ours}?{query}"),
        None => (*ours).to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// One model in OpenRouter's shape. Prices are decimal credits apiece, as texts.
#[derive(Serialize, utoipa::ToSchema)]
pub struct OpenRouterModel {
    id: String,
    canonical_slug: String,
    name: String,
    /// Seconds since the Unix epoch.
    created: i64,
    description: String,
    context_length: Option<u64>,
    architecture: Architecture,
    pricing: Pricing,
    top_provider: TopProvider,
    #[schema(value_type = Option<Object>)]
    per_request_limits: Option<()>,
    /// What the gateway passes on; a model may refuse some of it.
    supported_parameters: Vec<&'static str>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Architecture {
    modality: String,
    input_modalities: Vec<&'static str>,
    output_modalities: Vec<&'static str>,
    tokenizer: &'static str,
    instruct_type: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Pricing {
    prompt: String,
    completion: String,
    request: String,
    image: String,
    web_search: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_cache_read: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_cache_write: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct TopProvider {
    context_length: Option<u64>,
    max_completion_tokens: Option<u64>,
    is_moderated: bool,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct OpenRouterModels {
    data: Vec<OpenRouterModel>,
}

/// Models this key can call, as OpenRouter lists them
///
/// OpenRouter's other routes work under `/api/v1`, too: `chat/completions`, `completions`, `embeddings`, `key`, `credits`, `generation` and
/// the rest are second names of ours under `/v1`.
#[utoipa::path(get, path = "/api/v1/models", tag = "Compatibility", security(("key" = [])), responses((status = 200, body = OpenRouterModels)))]
pub async fn openrouter_models(
    request: HttpRequest,
    pipeline: web::Data<Rc<Pipeline>>,
    reader: web::Data<CallerReader>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller(&request, &pipeline, &reader).await?;
    let snapshot = pipeline.catalog.snapshot();
    let data = snapshot.models().into_iter().filter(|entry| caller.key.allows_model(&entry.id)).map(|entry| view(entry)).collect();
    Ok(HttpResponse::Ok().json(OpenRouterModels { data }))
}

fn view(entry: &ModelEntry) -> OpenRouterModel {
    let model = &entry.model;
    let (input_modalities, output_modalities) = modalities(model.kind);
    OpenRouterModel {
        id: model.id.clone(),
        canonical_slug: model.id.clone(),
        name: model.display_name.clone(),
        created: model.created_at / SECOND,
        description: String::new(),
        context_length: model.context_window,
        architecture: Architecture {
            modality: format!("{}->{}", input_modalities.join("+"), output_modalities.join("+")),
            input_modalities: input_modalities.to_vec(),
            output_modalities: output_modalities.to_vec(),
            tokenizer: "Other",
            instruct_type: None,
        },
        pricing: pricing(&PriceList(model.prices.clone())),
        top_provider: TopProvider {
            context_length: model.context_window,
            max_completion_tokens: model.max_output_tokens,
            is_moderated: false,
        },
        per_request_limits: None,
        supported_parameters: parameters(model.kind).to_vec(),
    }
}

fn pricing(prices: &PriceList) -> Pricing {
    let own = |unit: Unit| prices.0.iter().find(|price| price.unit == unit).map(|price| decimal::apiece(*price));
    let or_free = |unit: Unit| own(unit).unwrap_or_else(|| "0".to_owned());
    Pricing {
        prompt: or_free(Unit::InputToken),
        completion: or_free(Unit::OutputToken),
        request: or_free(Unit::Request),
        image: or_free(Unit::Image),
        web_search: "0".to_owned(),
        internal_reasoning: own(Unit::ReasoningToken),
        input_cache_read: own(Unit::CachedInputToken),
        input_cache_write: own(Unit::CacheWriteToken),
    }
}

fn modalities(kind: ModelKind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        ModelKind::Embedding => (&["text"], &["embeddings"]),
        ModelKind::Image => (&["text"], &["image"]),
        ModelKind::Audio => (&["text", "audio"], &["text", "audio"]),
        ModelKind::Video | ModelKind::Render => (&["text"], &["video"]),
        ModelKind::Rerank => (&["text"], &["rerank"]),
        ModelKind::Chat | ModelKind::Completion | ModelKind::Moderation => (&["text"], &["text"]),
    }
}

fn parameters(kind: ModelKind) -> &'static [&'static str] {
    match kind {
        ModelKind::Chat => &[
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "structured_outputs",
            "temperature",
            "tool_choice",
            "tools",
            "top_logprobs",
            "top_p",
        ],
        ModelKind::Completion => {
            &["frequency_penalty", "logit_bias", "logprobs", "max_tokens", "presence_penalty", "seed", "stop", "temperature", "top_p"]
        }
        ModelKind::Embedding => &["dimensions", "encoding_format"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_second_names_are_rewritten() {
        let rewritten = |uri: &str| first_name(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(rewritten("/api/v1/chat/completions").as_deref(), Some("/v1/chat/completions"));
        assert_eq!(rewritten("/api/v1/generation?id=a%2Fb").as_deref(), Some("/v1/generation?id=a%2Fb"));
        assert_eq!(rewritten("http://h:1/api/v1/auth/key").as_deref(), Some("http://h:1/v1/key"));
        for other in
            ["/v1/key", "/api/v1/me", "/api/v1/keys", "/api/v1/key/", "/api/v1/credits/ledger", "/api/v1/models", "/api/v1/", "/api/v1"]
        {
            assert_eq!(rewritten(other), None, "{other}");
        }
    }
}

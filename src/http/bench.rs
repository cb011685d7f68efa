//! The bare proxy route that benches compare with: the same server and HTTP client, and nothing else.

use std::{convert::Infallible, sync::Arc, time::Duration};

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, post, web};
use bytes::Bytes;
use futures_util::stream;

use super::error::ApiError;
use crate::{
    dialect::Endpoint,
    domain::catalog::{ProviderKind, Upstream},
    upstream::{Call, Connector, Target},
};

pub struct BareProxy {
    pub target: Arc<Target>,
    pub connector: Connector,
}

pub fn target(base_url: String) -> Arc<Target> {
    let upstream = Upstream { base_url, ..Upstream::new("bench", ProviderKind::Openai, 0) };
    Arc::new(Target::new(&upstream, Vec::new()))
}

/// Forwards the body as it is, and the answer as it comes.
#[post("/bench/proxy")]
pub async fn proxy(body: Bytes, bare: web::Data<BareProxy>) -> Result<HttpResponse, ApiError> {
    let call = Call {
        endpoint: Endpoint::ChatCompletions,
        streamed: body.windows(13).any(|window| window == b"\"stream\":true"),
        model: "bench".into(),
        body,
        content_type: "application/json".into(),
        version: None,
        betas: None,
        api_key: None,
        request_id: "bench".to_owned(),
        deadline: Duration::from_secs(600),
    };
    let answer = bare.connector.provider(&bare.target).call(call).await?;
    let content_type = answer.content_type.unwrap_or_else(|| "application/json".to_owned());
    let chunks =
        stream::unfold(answer.body, |mut body| async move { body.next().await?.ok().map(|chunk| (Ok::<_, Infallible>(chunk), body)) });
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, content_type)).streaming(chunks))
}

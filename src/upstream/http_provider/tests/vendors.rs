//! What each vendor is sent, and how its refusals are taken.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};

use super::*;
use crate::upstream::auth::service_account;

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

fn call_of(endpoint: Endpoint, model: &str, streamed: bool) -> Call {
    Call { endpoint, model: model.into(), ..chat(streamed) }
}

/// The request that a provider makes of a call, when everything goes well.
async fn sent(provider: ProviderKind, options: &str, key: &str, call: Call) -> String {
    let answer = if call.streamed { "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n" } else { EMPTY };
    let (base, serving) = server(vec![Act::Send(answer)]).await;
    let base = base.trim_end_matches("/v1");
    let provider = of_kind(provider, base, options, patient(), &[key]).expect("valid");
    provider.call(call).await.expect("an answer");
    serving.await.expect("served")
}

#[track_caller]
fn has(request: &str, lines: &[&str]) {
    for line in lines {
        assert!(request.lines().any(|found| found == *line), "{line} is missing in\n{request}");
    }
}

#[tokio::test]
async fn anthropic_is_told_the_version() {
    let call = call_of(Endpoint::Messages, "claude", true);
    let request = sent(ProviderKind::Anthropic, "{}", "sk-ant", call.clone()).await;
    let usual = ["POST /v1/messages HTTP/1.1", "x-api-key: sk-ant", "anthropic-version: 2023-06-01", "accept: text/event-stream"];
    has(&request, &usual);
    assert!(!request.contains("anthropic-beta") && !request.contains("authorization"), "{request}");
    let direct = Call { version: Some("2026-10-21".to_owned()), betas: Some("a,b".to_owned()), ..call.clone() };
    let request = sent(ProviderKind::Anthropic, "{}", "sk-ant", direct).await;
    has(&request, &["anthropic-version: 2026-10-21", "anthropic-beta: a,b"]);
    let request = sent(ProviderKind::Anthropic, r#"{"api_version":"2024-01-01"}"#, "sk-ant", call).await;
    has(&request, &["anthropic-version: 2024-01-01"]);
}

#[tokio::test]
async fn gemini_has_the_model_in_the_path_and_the_key_in_its_header() {
    let request = sent(ProviderKind::Gemini, "{}", "AIza", call_of(Endpoint::GenerateContent, "gemini-2.5-pro", true)).await;
    has(&request, &["POST /v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse HTTP/1.1", "x-goog-api-key: AIza"]);
    let request = sent(ProviderKind::Gemini, "{}", "AIza", call_of(Endpoint::BatchEmbedContents, "e", false)).await;
    has(&request, &["POST /v1beta/models/e:batchEmbedContents HTTP/1.1"]);
}

#[tokio::test]
async fn azure_has_the_deployment_in_the_path() {
    let options = r#"{"headers":{"x-team":"one"}}"#;
    let request = sent(ProviderKind::Azure, options, "k", call_of(Endpoint::ChatCompletions, "gpt", false)).await;
    has(&request, &["POST /openai/deployments/gpt/chat/completions?api-version=2024-10-21 HTTP/1.1", "api-key: k", "x-team: one"]);
    let request = sent(ProviderKind::Azure, r#"{"azure_style":"v1"}"#, "k", call_of(Endpoint::ChatCompletions, "gpt", false)).await;
    has(&request, &["POST /openai/v1/chat/completions HTTP/1.1", "api-key: k"]);
}

#[tokio::test]
async fn cohere_is_called_at_its_own_rerank() {
    let request = sent(ProviderKind::Cohere, "{}", "co", call_of(Endpoint::CohereRerank, "rerank-v3.5", false)).await;
    has(&request, &["POST /v2/rerank HTTP/1.1", "authorization: Bearer co"]);
}

#[tokio::test]
async fn bedrock_is_signed_or_given_its_key() {
    let model = "anthropic.claude-v2:1";
    let region = r#"{"region":"eu-west-1"}"#;
    let request = sent(ProviderKind::Bedrock, region, "AKIDEXAMPLE:secret:token", call_of(Endpoint::Converse, model, false)).await;
    has(&request, &["POST /model/anthropic.claude-v2%3A1/converse HTTP/1.1", "x-amz-security-token: token"]);
    let header = |name: &str| request.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let date = header("x-amz-date: ");
    assert!(date.len() == 16 && date.ends_with('Z'), "{date}");
    let authorization = header("authorization: ");
    let scope = format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{}/eu-west-1/bedrock/aws4_request, SignedHeaders=", &date[..8]);
    assert!(authorization.starts_with(&scope), "{authorization}");
    for signed in ["accept", "content-type", "host", "x-amz-date", "x-amz-security-token", "x-request-id"] {
        assert!(authorization.contains(signed), "{signed} is not signed: {authorization}");
    }
    assert!(!request.contains("secret"), "{request}");

    let request = sent(ProviderKind::Bedrock, "{}", "ABSKkey", call_of(Endpoint::Converse, model, false)).await;
    has(&request, &["authorization: Bearer ABSKkey"]);
    assert!(of_kind(ProviderKind::Bedrock, "http://127.0.0.1:1", "{}", patient(), &["AKID:secret"]).unwrap_err().contains("region"));
}

fn frame(kind: &str, name: &str, payload: &str) -> Vec<u8> {
    let text = |name: &str, value: &str| Header::new(name.to_owned(), HeaderValue::String(value.to_owned().into()));
    let headers = vec![text(":message-type", kind), text(&format!(":{kind}-type"), name)];
    let mut bytes = Vec::new();
    write_message_to(&Message::new_from_parts(headers, payload.as_bytes().to_vec()), &mut bytes).expect("written");
    bytes
}

#[tokio::test]
async fn bedrocks_binary_stream_reads_as_events() {
    let frames = [frame("event", "messageStart", r#"{"role":"assistant"}"#), frame("exception", "throttlingException", "{}")].concat();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nconnection: close\r\n\r\n";
    for cut in [0, 5] {
        let (first, second) = frames.split_at(40);
        let second = second[..second.len() - cut].to_vec();
        let acts = vec![Act::Send(head), Act::Bytes(first.to_vec()), Act::Dawdle, Act::Bytes(second)];
        let (base, serving) = server(acts).await;
        let provider = of_kind(ProviderKind::Bedrock, base.trim_end_matches("/v1"), "{}", patient(), &["ABSK"]).expect("valid");
        let answer = provider.call(call_of(Endpoint::Converse, "m", true)).await.expect("an answer");
        assert_eq!(answer.content_type.as_deref(), Some("text/event-stream"));
        let mut body = answer.body;
        let mut text = Vec::new();
        let failure = loop {
            match body.next().await {
                Some(Ok(chunk)) => text.extend_from_slice(&chunk),
                Some(Err(failure)) => break Some(failure),
                None => break None,
            }
        };
        assert!(body.next().await.is_none());
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.starts_with("event: messageStart\ndata: {\"role\":\"assistant\"}\n\n"), "{text}");
        assert_eq!(text.ends_with("event: exception:throttlingException\ndata: {}\n\n"), cut == 0);
        assert_eq!(matches!(failure, Some(Failure::BrokenOff(_))), cut > 0, "{failure:?}");
        let request = serving.await.expect("served");
        has(&request, &["POST /model/m/converse-stream HTTP/1.1", "accept: application/vnd.amazon.eventstream"]);
    }
}

#[tokio::test]
async fn vertex_asks_for_a_token_once() {
    let granted = "HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n{\"access_token\":\"ya29\",\"expires_in\":3600}";
    let (token_base, token_server) = server(vec![Act::Send(granted)]).await;
    let (key, _) = service_account(&format!("{token_base}/token"));
    let (base, serving) = server(vec![Act::Send(EMPTY)]).await;
    let base = base.trim_end_matches("/v1").to_owned();
    let options = serde_json::from_str(r#"{"location":"europe-west4"}"#).expect("options");
    let upstream = Upstream { base_url: base, options, timeouts: patient(), ..Upstream::new("u", ProviderKind::Vertex, 0) };
    let target: Arc<Target> = Target::new(&upstream, vec![ApiKey::new(key)]).into();
    let provider = HttpProvider::new(&HttpClient::new(Clock::system()).expect("TLS"), &target).expect("valid");
    provider.call(call_of(Endpoint::GenerateContent, "gemini", false)).await.expect("an answer");
    let request = serving.await.expect("served");
    let path = "POST /v1/projects/project-1/locations/europe-west4/publishers/google/models/gemini:generateContent HTTP/1.1";
    has(&request, &[path, "authorization: Bearer ya29", "x-goog-user-project: payer"]);
    let request = token_server.await.expect("served");
    has(&request, &["POST /v1/token HTTP/1.1", "content-type: application/x-www-form-urlencoded"]);
    // Both servers are gone: the next call has its token, and finds nobody to give it to.
    let failure = provider.call(call_of(Endpoint::GenerateContent, "gemini", false)).await.expect_err("nobody listens");
    assert!(matches!(&failure, Failure::Connect(_) | Failure::BrokenOff(_)), "{failure}");
}

#[tokio::test]
async fn a_service_account_that_gets_no_token_is_a_refused_key() {
    let refused = "HTTP/1.1 400 No\r\ncontent-length: 25\r\n\r\n{\"error\":\"invalid_grant\"}";
    let (token_base, _serving) = server(vec![Act::Send(refused)]).await;
    let (key, _) = service_account(&format!("{token_base}/token"));
    let provider = of_kind(ProviderKind::Vertex, "http://127.0.0.1:1", "{}", patient(), &[&key]).expect("valid");
    let failure = provider.call(call_of(Endpoint::GenerateContent, "gemini", false)).await.expect_err("no token");
    assert!(matches!(&failure, Failure::Refused { status: 401, message, .. } if message.ends_with("invalid_grant")), "{failure}");
}

#[tokio::test]
async fn a_callers_own_key_is_used_instead_of_the_upstreams() {
    let call = Call { api_key: Some(ApiKey::new("own")), ..chat(false) };
    let request = sent(ProviderKind::OpenaiCompatible, "{}", "theirs", call).await;
    has(&request, &["authorization: Bearer own"]);
    assert!(!request.contains("theirs"), "{request}");
}

/// A server that answers one connection after the other, each with its own answer; gives the keys it was shown.
async fn answering(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
    #[expect(clippy::disallowed_methods, reason = "the test's own server runs beside the test")]
    let serving = tokio::spawn(async move {
        let mut keys = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let request = read_request(&mut socket).await;
            let key = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).expect("a key");
            keys.push(key.to_owned());
            socket.write_all(answer.as_bytes()).await.expect("sent");
        }
        keys
    });
    (base, serving)
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
const LIMITED: &str = "HTTP/1.1 429 Slow\r\nconnection: close\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";
const UNKNOWN: &str = "HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Oops\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_refused_key_is_replaced_at_once_and_rests() {
    let (base, serving) = answering(vec![LIMITED, UNKNOWN, GOOD, GOOD, GOOD]).await;
    let upstream = Upstream { base_url: base, timeouts: patient(), ..Upstream::new("u", ProviderKind::Openai, 0) };
    let target: Arc<Target> = Target::new(&upstream, ["a", "b", "c"].map(ApiKey::new).into()).into();
    let (clock, hand) = Clock::manual(0);
    let provider = HttpProvider::new(&HttpClient::new(clock).expect("TLS"), &target).expect("valid");
    provider.call(chat(false)).await.expect("the third key is good");
    assert_eq!(target.keys.resting(1), 2);
    provider.call(chat(false)).await.expect("the others rest");
    hand.advance(Duration::from_secs(31));
    assert_eq!(target.keys.resting(31_000_000), 1);
    provider.call(chat(false)).await.expect("one is back, or the good one goes on");
    let keys = serving.await.expect("served");
    assert_eq!(keys[..4], ["a", "b", "c", "c"]);
    assert_ne!(keys[4], "b");
}

#[tokio::test]
async fn what_is_not_about_the_key_is_not_tried_with_another() {
    let (base, serving) = answering(vec![BROKEN]).await;
    let provider = of_kind(ProviderKind::Openai, &base, "{}", patient(), &["a", "b"]).expect("valid");
    let failure = provider.call(chat(false)).await.expect_err("refused");
    assert!(matches!(failure, Failure::Refused { status: 500, .. }), "{failure}");
    assert_eq!(serving.await.expect("served"), ["a"]);
}

#[tokio::test]
async fn when_all_keys_are_refused_the_caller_learns_of_the_last() {
    let (base, serving) = answering(vec![UNKNOWN, LIMITED]).await;
    let provider = of_kind(ProviderKind::Openai, &base, "{}", patient(), &["a", "b"]).expect("valid");
    let failure = provider.call(chat(false)).await.expect_err("refused");
    assert!(matches!(failure, Failure::Refused { status: 429, retry_after_ms: Some(30_000), .. }), "{failure}");
    assert_eq!(serving.await.expect("served"), ["a", "b"]);
}

#[tokio::test]
async fn every_kind_is_probed_for_free() {
    for (kind, options, key, expected) in [
        (ProviderKind::Anthropic, "{}", "k", "GET /v1/models?limit=1 HTTP/1.1"),
        (ProviderKind::Gemini, "{}", "k", "GET /v1beta/models?pageSize=1 HTTP/1.1"),
        (ProviderKind::Vertex, "{}", "k", "GET /v1beta1/publishers/google/models?pageSize=1 HTTP/1.1"),
        (ProviderKind::Vertex, r#"{"project":"p"}"#, "k", "GET /v1/projects/p/locations/global HTTP/1.1"),
        (ProviderKind::Azure, "{}", "k", "GET /openai/models?api-version=2024-10-21 HTTP/1.1"),
        (ProviderKind::Azure, r#"{"azure_style":"v1"}"#, "k", "GET /openai/v1/models HTTP/1.1"),
        (ProviderKind::Cohere, "{}", "k", "GET /v1/models?page_size=1 HTTP/1.1"),
        (ProviderKind::Bedrock, r#"{"region":"us-east-1"}"#, "AKID:secret", "GET /async-invoke?maxResults=1 HTTP/1.1"),
        (ProviderKind::Ollama, "{}", "", "GET /models HTTP/1.1"),
    ] {
        let (base, serving) = server(vec![Act::Send(EMPTY)]).await;
        let provider = of_kind(kind, base.trim_end_matches("/v1"), options, patient(), &[key]).expect("valid");
        provider.probe().await.expect("alive");
        let request = serving.await.expect("served");
        has(&request, &[expected]);
        assert_eq!(request.contains("AWS4-HMAC-SHA256"), kind == ProviderKind::Bedrock);
    }
}

#[tokio::test]
async fn some_refusals_prove_life() {
    let denied = "HTTP/1.1 403 No\r\nx-amzn-errortype: AccessDeniedException\r\ncontent-length: 0\r\n\r\n";
    let unknown = "HTTP/1.1 403 No\r\nx-amzn-errortype: UnrecognizedClientException\r\ncontent-length: 0\r\n\r\n";
    let missing = "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n";
    for (kind, answer, lives) in [
        (ProviderKind::Bedrock, denied, true),
        (ProviderKind::Bedrock, unknown, false),
        (ProviderKind::Perplexity, missing, true),
        (ProviderKind::Openai, missing, false),
    ] {
        let (base, _serving) = server(vec![Act::Send(answer)]).await;
        let provider = of_kind(kind, &base, "{}", patient(), &["k"]).expect("valid");
        assert_eq!(provider.probe().await.is_ok(), lives, "{kind:?}");
    }
}

#[test]
fn headers_that_are_ours_cannot_be_set() {
    assert!(static_header("helicone-auth", "x").is_ok());
    for bad in ["Authorization", "x-api-key", "content-length", "a b", ""] {
        assert!(static_header(bad, "x").is_err(), "{bad}");
    }
    assert!(static_header("x", "a\nb").is_err());
}

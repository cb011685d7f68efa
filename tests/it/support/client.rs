//! Talking to the gateway as its callers do, and reading what it says.

use std::{future::Future, time::Duration};

use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

/// A caller with one key.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    pub base: String,
    pub key: String,
}

impl Caller {
    pub fn new(base: &str, key: &str) -> Self {
        // No request of a test may hang the suite.
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().expect("a client");
        Self { http, base: base.to_owned(), key: key.to_owned() }
    }

    /// One that shows redirects instead of following them.
    pub fn not_following(base: &str) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().expect("a client"), base: base.to_owned(), key: String::new() }
    }

    /// The same connections, another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.key)
    }

    /// Without any key.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let request = headers.iter().fold(self.request(Method::POST, path), |request, (name, value)| request.header(*name, *value));
        Answer::of(request.json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }

    /// A chat completion of one user message.
    pub async fn chat(&self, model: &str, text: &str) -> Answer {
        self.post("/v1/chat/completions", &chat(model, text)).await
    }

    /// The same as a stream; an answer that is no stream fails the test.
    pub async fn chat_stream(&self, model: &str, text: &str) -> Stream {
        self.stream("/v1/chat/completions", &streamed(chat(model, text))).await
    }

    pub async fn stream(&self, path: &str, body: &Value) -> Stream {
        self.stream_with(path, &[], body).await
    }

    pub async fn stream_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Stream {
        let request = headers.iter().fold(self.request(Method::POST, path), |request, (name, value)| request.header(*name, *value));
        let response = request.json(body).send().await.expect("an answer");
        let status = response.status().as_u16();
        let is_stream =
            response.headers().get("content-type").is_some_and(|value| value.to_str().unwrap().starts_with("text/event-stream"));
        if status != 200 || !is_stream {
            panic!("expected a stream, got {status}: {}", response.text().await.unwrap_or_default());
        }
        Stream { headers: response.headers().clone(), response, buffer: Vec::new() }
    }

    /// Rows of a list route, newest page first, all pages.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{joint}limit=100{cursor}")).await.expect(200);
            rows.extend(page["data"].as_array().unwrap_or_else(|| panic!("a list has data: {page}")).iter().cloned());
            if page["has_more"] != json!(true) {
                return rows;
            }
            let next = page["next_cursor"].as_str().unwrap_or_else(|| panic!("more pages have a cursor: {page}"));
            cursor = format!("&cursor={}", encode(next));
        }
    }
}

/// Percent-encodes one path segment or query value.
pub fn encode(text: &str) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if keep(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

pub fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        Self::read(request).await.expect("an answer")
    }

    /// Fails when the connection does.
    pub async fn read(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await? })
    }

    /// Null for an answer without content.
    pub fn json(&self) -> Value {
        if self.status == 204 {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in an answer with status {}: {}", self.status, self.text))
    }

    /// The body of an answer that has this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The body of an answer that went well (200 to 204).
    #[track_caller]
    pub fn success(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The `error` object of a refusal with this status and code, which must have OpenAI's shape.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let error = error_of(&self.json());
        assert_eq!(error["code"], json!(code), "{}", self.text);
        assert_eq!(error["request_id"].as_str(), self.header("x-request-id"), "{}", self.text);
        error
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a text header"))
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        let value = self.header(name).unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers));
        value.parse().unwrap_or_else(|_| panic!("{name}: {value} is no number"))
    }

    #[track_caller]
    pub fn request_id(&self) -> String {
        self.header("x-request-id").expect("every answer has x-request-id").to_owned()
    }

    #[track_caller]
    pub fn cost(&self) -> i64 {
        let body = self.json();
        body["usage"]["cost_micros"].as_i64().unwrap_or_else(|| panic!("usage.cost_micros in {body}"))
    }
}

/// Asserts OpenAI's error shape and answers the `error` object.
#[track_caller]
pub fn error_of(body: &Value) -> Value {
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    for name in ["type", "code", "request_id"] {
        assert!(error[name].is_string(), "error.{name} in {body}");
    }
    let param = error.as_object().and_then(|error| error.get("param"));
    assert!(param.is_some_and(|param| param.is_null() || param.is_string()), "error.param in {body}");
    error.clone()
}

/// A running stream. Dropping it hangs up.
pub struct Stream {
    pub headers: HeaderMap,
    response: reqwest::Response,
    buffer: Vec<u8>,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Data(Value),
    Done,
}

/// A stream that has ended.
#[derive(Debug, Default)]
pub struct Transcript {
    pub chunks: Vec<Value>,
    pub done: bool,
    /// The error event's `error` object.
    pub error: Option<Value>,
    /// True when the connection ended without a good end of the transfer.
    pub cut: bool,
}

impl Stream {
    #[track_caller]
    pub fn request_id(&self) -> String {
        self.headers.get("x-request-id").expect("every answer has x-request-id").to_str().unwrap().to_owned()
    }

    /// The next event; `None` at the good end of the transfer.
    pub async fn next(&mut self) -> reqwest::Result<Option<Event>> {
        loop {
            if let Some(end) = event_end(&self.buffer) {
                let event: Vec<u8> = self.buffer.drain(..end).collect();
                let text = String::from_utf8(event).expect("events are UTF-8");
                let data: String = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
                match data.as_str() {
                    "" => continue,
                    "[DONE]" => return Ok(Some(Event::Done)),
                    data => return Ok(Some(Event::Data(serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}"))))),
                }
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None if self.buffer.is_empty() => return Ok(None),
                None => panic!("a stream ends inside an event: {}", String::from_utf8_lossy(&self.buffer)),
            }
        }
    }

    /// Reads until this text has come as content.
    pub async fn until(&mut self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            match self.next().await.expect("the stream goes on") {
                Some(Event::Data(chunk)) => said.push_str(content(&chunk)),
                end => panic!("the stream ended with {end:?} after {said}"),
            }
        }
        said
    }

    pub async fn finish(mut self) -> Transcript {
        let mut transcript = Transcript::default();
        loop {
            match self.next().await {
                Ok(Some(Event::Done)) => transcript.done = true,
                Ok(Some(Event::Data(event))) if event.get("error").is_some() => transcript.error = Some(event["error"].clone()),
                Ok(Some(Event::Data(chunk))) => transcript.chunks.push(chunk),
                Ok(None) => return transcript,
                Err(_) => {
                    transcript.cut = true;
                    return transcript;
                }
            }
        }
    }
}

impl Transcript {
    pub fn text(&self) -> String {
        self.chunks.iter().map(content).collect()
    }

    /// The `usage` object of the last chunk that has one.
    #[track_caller]
    pub fn usage(&self) -> Value {
        let usage = self.chunks.iter().rev().find_map(|chunk| chunk.get("usage").filter(|usage| usage.is_object()));
        usage.unwrap_or_else(|| panic!("no usage in {:?}", self.chunks)).clone()
    }

    #[track_caller]
    pub fn cost(&self) -> i64 {
        self.usage()["cost_micros"].as_i64().expect("usage.cost_micros")
    }

    #[track_caller]
    pub fn ended_well(self) -> Self {
        assert!(self.done && !self.cut && self.error.is_none(), "{self:?}");
        self
    }
}

fn content(chunk: &Value) -> &str {
    let choice = &chunk["choices"][0];
    choice["delta"]["content"].as_str().or_else(|| choice["text"].as_str()).unwrap_or_default()
}

/// Where the first event ends, behind its blank line.
fn event_end(buffer: &[u8]) -> Option<usize> {
    let after = |blank: &[u8]| buffer.windows(blank.len()).position(|window| window == blank).map(|at| at + blank.len());
    [after(b"\n\n"), after(b"\r\n\r\n")].into_iter().flatten().min()
}

/// Asks until the answer is `Some`, for 20 seconds at most.
#[track_caller]
pub fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let asked = async {
            loop {
                if let Some(value) = probe().await {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap_or_else(|_| panic!("{place}: never happened: {what}"))
    }
}

/// [`eventually`] for a plain condition.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    eventually(what, move || std::future::ready(condition().then_some(())))
}

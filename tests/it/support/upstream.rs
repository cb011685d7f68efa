//! A scriptable OpenAI-compatible server on loopback. Each upstream model has a queue of replies and a standing one; a reply is a
//! list of steps that are written to the socket as they are, so that every kind of broken answer can be told byte by byte.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
};

/// Holds a reply back until the test opens it. Clones share it.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.close();
    }

    async fn passed(&self) {
        // The semaphore never has a permit: acquiring ends when it is closed.
        let _ = self.0.acquire().await;
    }
}

#[derive(Clone)]
enum Step {
    Write(Bytes),
    Wait(Gate),
    /// Says nothing more until the caller closes the connection.
    Hang,
    /// Ends the connection without a good end of the answer.
    Cut,
}

/// What the server does with one request.
#[derive(Clone)]
pub struct Reply {
    steps: Vec<Step>,
    chunked: bool,
}

impl Reply {
    fn of(steps: Vec<Step>) -> Self {
        Self { steps, chunked: false }
    }

    /// Any status and headers, with a JSON body of known length.
    pub fn http(status: u16, headers: &[(&str, &str)], body: &Value) -> Self {
        Self::raw_body(status, headers, "application/json", body.to_string().as_bytes())
    }

    pub fn raw_body(status: u16, headers: &[(&str, &str)], content_type: &str, body: &[u8]) -> Self {
        let mut text = format!("HTTP/1.1 {status} Mock\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        Self::of(vec![Step::Write(bytes.into())])
    }

    pub fn ok(body: &Value) -> Self {
        Self::http(200, &[], body)
    }

    /// A chat completion that says `text` and reports this usage.
    pub fn chat(text: &str, input: u64, output: u64) -> Self {
        Self::ok(&completion(text, Some(usage(input, output))))
    }

    pub fn chat_without_usage(text: &str) -> Self {
        Self::ok(&completion(text, None))
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16, message: &str) -> Self {
        Self::error_with(status, &[], message)
    }

    pub fn error_with(status: u16, headers: &[(&str, &str)], message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": "mock_error", "param": null, "code": null}});
        Self::http(status, headers, &body)
    }

    pub fn hang() -> Self {
        Self::of(vec![Step::Hang])
    }

    /// Bytes that are no HTTP answer at all.
    pub fn not_http() -> Self {
        Self::of(vec![Step::Write(Bytes::from_static(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")), Step::Cut])
    }

    /// A good status and a body that is not what was asked for.
    pub fn garbage() -> Self {
        Self::raw_body(200, &[], "application/json", b"<html>definitely not json")
    }

    /// Closes the connection instead of answering.
    pub fn cut() -> Self {
        Self::of(vec![Step::Cut])
    }

    /// Announces more than it sends.
    pub fn cut_inside_body() -> Self {
        let head = b"HTTP/1.1 200 Mock\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":";
        Self::of(vec![Step::Write(Bytes::from_static(head)), Step::Cut])
    }

    /// The head of a stream; go on with [`Reply::say`].
    pub fn stream() -> Self {
        Self::stream_of("text/event-stream")
    }

    pub fn stream_of(content_type: &str) -> Self {
        let head = format!("HTTP/1.1 200 Mock\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
        Self { steps: vec![Step::Write(head.into())], chunked: true }
    }

    /// A whole, good stream: role, one chunk a word, finish, usage if any, `[DONE]`.
    pub fn good_stream(text: &str, usage: Option<(u64, u64)>) -> Self {
        let said = text.split_inclusive(' ').fold(Self::stream().role(), Self::say).finish();
        let said = match usage {
            Some((input, output)) => said.usage(input, output),
            None => said,
        };
        said.done()
    }

    /// One event with this JSON.
    pub fn event(self, data: &Value) -> Self {
        self.raw(format!("data: {data}\n\n").as_bytes())
    }

    /// Bytes as they are, in one transfer chunk if the answer is chunked.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        let mut framed = Vec::new();
        if self.chunked {
            framed.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        }
        framed.extend_from_slice(bytes);
        if self.chunked {
            framed.extend_from_slice(b"\r\n");
        }
        self.steps.push(Step::Write(framed.into()));
        self
    }

    pub fn role(self) -> Self {
        self.event(&chunk(&json!({"role": "assistant", "content": ""}), None))
    }

    pub fn say(self, text: &str) -> Self {
        self.event(&chunk(&json!({"content": text}), None))
    }

    pub fn finish(self) -> Self {
        self.event(&chunk(&json!({}), Some("stop")))
    }

    pub fn usage(self, input: u64, output: u64) -> Self {
        let mut event = chunk(&json!({}), None);
        event["choices"] = json!([]);
        event["usage"] = usage(input, output);
        self.event(&event)
    }

    pub fn done(mut self) -> Self {
        self = self.raw(b"data: [DONE]\n\n");
        self.end()
    }

    /// The good end of the transfer, with or without a `[DONE]` before it.
    pub fn end(mut self) -> Self {
        self.steps.push(Step::Write(Bytes::from_static(b"0\r\n\r\n")));
        self
    }

    pub fn wait(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Waits before the first byte.
    pub fn after(mut self, gate: &Gate) -> Self {
        self.steps.insert(0, Step::Wait(gate.clone()));
        self
    }

    pub fn then_cut(mut self) -> Self {
        self.steps.push(Step::Cut);
        self
    }

    pub fn then_hang(mut self) -> Self {
        self.steps.push(Step::Hang);
        self
    }
}

pub fn usage(input: u64, output: u64) -> Value {
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

pub fn completion(text: &str, usage: Option<Value>) -> Value {
    let mut body = json!({
        "id": "chatcmpl-mock", "object": "chat.completion", "created": 1_700_000_000, "model": "mock-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
    });
    if let Some(usage) = usage {
        body["usage"] = usage;
    }
    body
}

fn chunk(delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({
        "id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "mock-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    })
}

/// One request as it came in.
#[derive(Clone)]
pub struct Seen {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    closed: Arc<AtomicBool>,
    answered: Arc<AtomicBool>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the gateway sends JSON upstream")
    }

    /// True once the gateway closed the connection before the reply was at its end.
    pub fn was_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub fn was_answered(&self) -> bool {
        self.answered.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Script {
    queued: HashMap<String, VecDeque<Reply>>,
    standing: HashMap<String, Reply>,
    seen: HashMap<String, Vec<Seen>>,
}

/// The server. It runs on the runtime of the test and ends with it.
#[derive(Clone)]
pub struct Upstream {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    running: Arc<AtomicUsize>,
    running_most: Arc<AtomicUsize>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let upstream = Self { address, script: Arc::default(), running: Arc::default(), running_most: Arc::default() };
        let server = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(server.clone().serve(stream));
            }
        });
        upstream
    }

    /// What an upstream's `base_url` is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The same for dialects whose clients add the version themselves.
    pub fn host_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The reply to every request for this upstream model from now on.
    pub fn always(&self, model: &str, reply: Reply) {
        self.script.lock().unwrap().standing.insert(model.to_owned(), reply);
    }

    /// Replies used once each, in their order, before the standing one.
    pub fn next(&self, model: &str, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().queued.entry(model.to_owned()).or_default().extend(replies);
    }

    pub fn seen(&self, model: &str) -> Vec<Seen> {
        self.script.lock().unwrap().seen.get(model).cloned().unwrap_or_default()
    }

    pub fn count(&self, model: &str) -> usize {
        self.script.lock().unwrap().seen.get(model).map_or(0, Vec::len)
    }

    pub fn last(&self, model: &str) -> Seen {
        self.seen(model).pop().expect("the upstream was called")
    }

    /// Most requests that were being answered at the same time.
    pub fn running_most(&self) -> usize {
        self.running_most.load(Ordering::SeqCst)
    }

    async fn serve(self, stream: TcpStream) {
        let (mut read, mut write) = stream.into_split();
        let mut buffer = Vec::new();
        while let Some((seen, model)) = read_request(&mut read, &mut buffer).await {
            let reply = self.reply_for(&model, &seen);
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.running_most.fetch_max(running, Ordering::SeqCst);
            let goes_on = answer(&mut read, &mut write, reply, &mut buffer).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            match goes_on {
                End::Good => seen.answered.store(true, Ordering::SeqCst),
                End::ClosedByCaller => return seen.closed.store(true, Ordering::SeqCst),
                End::Cut => return,
            }
        }
    }

    fn reply_for(&self, model: &str, seen: &Seen) -> Reply {
        let mut script = self.script.lock().unwrap();
        script.seen.entry(model.to_owned()).or_default().push(seen.clone());
        if let Some(reply) = script.queued.get_mut(model).and_then(VecDeque::pop_front) {
            return reply;
        }
        if let Some(reply) = script.standing.get(model) {
            return reply.clone();
        }
        if seen.path.ends_with("/models") {
            return Reply::ok(&json!({"object": "list", "data": []}));
        }
        let streamed = serde_json::from_slice::<Value>(&seen.body).is_ok_and(|body| body["stream"] == json!(true));
        if streamed { Reply::good_stream("Hello there", Some((10, 5))) } else { Reply::chat("Hello there", 10, 5) }
    }
}

enum End {
    Good,
    ClosedByCaller,
    Cut,
}

/// Plays a reply and watches for a caller that hangs up meanwhile.
async fn answer(read: &mut OwnedReadHalf, write: &mut OwnedWriteHalf, reply: Reply, buffer: &mut Vec<u8>) -> End {
    for step in reply.steps {
        match step {
            Step::Write(bytes) => {
                if write.write_all(&bytes).await.is_err() {
                    return End::ClosedByCaller;
                }
            }
            Step::Wait(gate) => {
                tokio::select! {
                    biased;
                    () = gate.passed() => {}
                    () = closed(read, buffer) => return End::ClosedByCaller,
                }
            }
            Step::Hang => {
                closed(read, buffer).await;
                return End::ClosedByCaller;
            }
            Step::Cut => return End::Cut,
        }
    }
    End::Good
}

/// Ready when the caller has closed its side. Bytes of a next request are kept.
async fn closed(read: &mut OwnedReadHalf, buffer: &mut Vec<u8>) {
    while read.read_buf(buffer).await.is_ok_and(|read| read > 0) {}
}

/// The next request and the model it names; `None` at the end of the connection.
async fn read_request(read: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> Option<(Seen, String)> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if read.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap_or(0));
    while buffer.len() < head_end + length {
        if read.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = Bytes::copy_from_slice(&buffer[head_end..head_end + length]);
    buffer.drain(..head_end + length);
    let in_json = serde_json::from_slice::<Value>(&body).ok().and_then(|body| body["model"].as_str().map(str::to_owned));
    let model = in_json.or_else(|| model_in(&path)).or_else(|| model_in_form(&body)).unwrap_or_default();
    let seen = Seen { path, headers, body, closed: Arc::default(), answered: Arc::default() };
    Some((seen, model))
}

/// Gemini's and Amazon's paths name the model: `…/models/{model}:generateContent`, `/model/{model}/converse`.
fn model_in(path: &str) -> Option<String> {
    let cut = |before: &str, after: char| path.split_once(before)?.1.split_once(after).map(|(model, _)| model.to_owned());
    cut("/models/", ':').or_else(|| cut("/model/", '/'))
}

/// Multipart bodies name the model in a field.
fn model_in_form(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, field) = text.split_once("name=\"model\"\r\n\r\n")?;
    field.split_once("\r\n").map(|(model, _)| model.to_owned())
}

/// An address on which nothing listens.
pub async fn refusing_base_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    drop(listener);
    format!("http://{address}/v1")
}

#[tokio::test]
async fn the_mock_plays_its_replies() {
    let mock = Upstream::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |body: Value| http.post(format!("{}/chat/completions", mock.base_url())).json(&body).send();
    let streamed = json!({"model": "m", "stream": true});
    mock.next(
        "m",
        [Reply::error_with(429, &[("retry-after", "7")], "slow down"), Reply::cut(), Reply::not_http(), Reply::cut_inside_body()],
    );
    let limited = post(json!({"model": "m"})).await.unwrap();
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert!(post(json!({"model": "m"})).await.is_err(), "cut");
    assert!(post(json!({"model": "m"})).await.is_err(), "no HTTP");
    assert!(post(json!({"model": "m"})).await.unwrap().bytes().await.is_err(), "cut inside");
    assert!(post(streamed.clone()).await.unwrap().text().await.unwrap().ends_with("data: [DONE]\n\n"));

    let gate = Gate::closed();
    mock.next("m", [Reply::stream().say("one").wait(&gate).say("two").then_cut(), Reply::stream().say("three").then_hang()]);
    let mut broken = post(streamed.clone()).await.unwrap();
    assert!(broken.chunk().await.unwrap().is_some());
    gate.open();
    while let Ok(chunk) = broken.chunk().await {
        assert!(chunk.is_some(), "the end is not a good one");
    }
    let mut hanging = post(streamed).await.unwrap();
    assert!(hanging.chunk().await.unwrap().is_some());
    assert!(!mock.last("m").was_closed());
    drop(hanging);
    super::client::until("the mock sees the hang-up", || mock.last("m").was_closed()).await;
    assert_eq!(mock.count("m"), 7);
}

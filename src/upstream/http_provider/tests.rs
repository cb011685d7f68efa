use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

mod vendors;

use super::*;
use crate::{
    domain::catalog::{ProviderKind, Timeouts, Upstream},
    upstream::Stage,
};

/// What a server does after it has read a request.
enum Act {
    Send(&'static str),
    Bytes(Vec<u8>),
    Flood(usize),
    /// Stays silent until the client hangs up.
    Hang,
    /// Takes its time.
    Dawdle,
}

/// A server on loopback that serves one connection. Gives its base URL and, at its end, the request it read.
async fn server(acts: Vec<Act>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
    #[expect(clippy::disallowed_methods, reason = "the test's own server runs beside the test")]
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let request = read_request(&mut socket).await;
        for act in acts {
            match act {
                Act::Send(text) => socket.write_all(text.as_bytes()).await.expect("sent"),
                Act::Bytes(bytes) => socket.write_all(&bytes).await.expect("sent"),
                // The client may have had enough.
                Act::Flood(bytes) => drop(socket.write_all(&vec![b'x'; bytes]).await),
                Act::Hang => drop(socket.read(&mut [0; 64]).await),
                Act::Dawdle => tokio::time::sleep(Duration::from_millis(60)).await,
            }
        }
        request
    });
    (base, serving)
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let complete = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            body.len() >= length.map_or(0, |length| length.parse().expect("a length"))
        });
        if complete {
            return text;
        }
        let read = socket.read(&mut buffer).await.expect("read");
        assert_ne!(read, 0, "the request ended early: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).expect("UTF-8"));
    }
}

fn upstream(base: &str, timeouts: Timeouts) -> HttpProvider {
    of_kind(ProviderKind::Openai, base, "{}", timeouts, &["sk-test"]).expect("valid")
}

fn of_kind(provider: ProviderKind, base: &str, options: &str, timeouts: Timeouts, keys: &[&str]) -> Result<HttpProvider, String> {
    let options = serde_json::from_str(options).expect("options");
    let upstream = Upstream { base_url: base.to_owned(), options, timeouts, ..Upstream::new("u", provider, 0) };
    let target = Target::new(&upstream, keys.iter().copied().map(ApiKey::new).collect());
    HttpProvider::new(&HttpClient::new(Clock::system())?, &target.into())
}

/// Patient, unless a test is about impatience.
fn patient() -> Timeouts {
    Timeouts { connect_ms: 10_000, first_byte_ms: 10_000, idle_ms: 10_000, total_ms: 10_000 }
}

fn chat(streamed: bool) -> Call {
    Call {
        endpoint: Endpoint::ChatCompletions,
        model: "m".into(),
        content_type: "application/json".into(),
        version: None,
        betas: None,
        api_key: None,
        body: Bytes::from_static(b"{\"model\":\"m\"}"),
        streamed,
        request_id: "req_1".to_owned(),
        deadline: Duration::from_secs(20),
    }
}

async fn refusal(answer: &'static str) -> Failure {
    let (base, serving) = server(vec![Act::Send(answer)]).await;
    let failure = upstream(&base, patient()).call(chat(false)).await.expect_err("refused");
    serving.await.expect("served");
    failure
}

/// The failure of a call, at its head or inside its body.
async fn failure(acts: Vec<Act>, timeouts: Timeouts, call: Call) -> Failure {
    let (base, _serving) = server(acts).await;
    match upstream(&base, timeouts).call(call).await {
        Err(failure) => failure,
        Ok(answer) => answer.body.collect(1_000).await.expect_err("a failure"),
    }
}

#[tokio::test]
async fn a_call_sends_what_it_should_and_nothing_else() {
    let (base, serving) =
        server(vec![Act::Send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: theirs\r\ncontent-length: 2\r\n\r\n{}")])
            .await;
    let answer = upstream(&base, patient()).call(chat(false)).await.expect("an answer");
    assert_eq!((answer.status, answer.content_type.as_deref()), (200, Some("application/json")));
    assert_eq!(&answer.body.collect(2).await.expect("a body")[..], b"{}");
    let request = serving.await.expect("served");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<&str> = head.lines().collect();
    lines.sort_unstable();
    let host = format!("host: {}", base.trim_start_matches("http://").trim_end_matches("/v1"));
    let mut expected = vec![
        "POST /v1/chat/completions HTTP/1.1",
        "accept: application/json",
        "authorization: Bearer sk-test",
        "content-length: 13",
        "content-type: application/json",
        &host,
        "x-request-id: req_1",
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_eq!(body, "{\"model\":\"m\"}");
}

#[tokio::test]
async fn streams_arrive_as_they_come() {
    let (base, serving) = server(vec![
        Act::Send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"),
        Act::Send("9\r\ndata: a\n\n\r\n"),
        Act::Dawdle,
        Act::Send("9\r\ndata: b\n\n\r\n0\r\n\r\n"),
    ])
    .await;
    let mut body = upstream(&base, patient()).call(chat(true)).await.expect("an answer").body;
    assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"data: a\n\n"))));
    assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"data: b\n\n"))));
    assert_eq!(body.next().await, None);
    assert_eq!(body.next().await, None);
    assert!(serving.await.expect("served").contains("accept: text/event-stream\r\n"));
}

#[tokio::test]
async fn servers_that_send_their_headers_first_have_the_first_byte_time() {
    let timeouts = Timeouts { idle_ms: 5, ..patient() };
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
    let (base, _serving) = server(vec![Act::Send(head), Act::Dawdle, Act::Send("x")]).await;
    let answer = upstream(&base, timeouts).call(chat(true)).await.expect("an answer");
    assert_eq!(&answer.body.collect(10).await.expect("a body")[..], b"x");
}

#[tokio::test]
async fn every_wait_has_its_end() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
    let first_byte = Failure::TimedOut { stage: Stage::FirstByte };
    let hasty = Timeouts { first_byte_ms: 30, ..patient() };
    assert_eq!(failure(vec![Act::Hang], hasty, chat(false)).await, first_byte);
    assert_eq!(failure(vec![Act::Send(head), Act::Hang], hasty, chat(false)).await, first_byte);
    let idle = Timeouts { idle_ms: 30, ..patient() };
    let silent = vec![Act::Send(head), Act::Send("1"), Act::Hang];
    assert_eq!(failure(silent, idle, chat(true)).await, Failure::TimedOut { stage: Stage::Idle });
    let total = Failure::TimedOut { stage: Stage::Total };
    let call = Call { deadline: Duration::from_millis(30), ..chat(true) };
    assert_eq!(failure(vec![Act::Hang], patient(), call.clone()).await, total);
    assert_eq!(failure(vec![Act::Send(head), Act::Send("1"), Act::Hang], patient(), call).await, total);
}

#[tokio::test]
async fn connecting_has_its_end_too() {
    // A server that accepts and then does not shake hands.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("https://{}/v1", listener.local_addr().expect("an address"));
    let failure = upstream(&base, Timeouts { connect_ms: 30, ..patient() }).call(chat(false)).await.expect_err("no handshake");
    assert_eq!(failure, Failure::TimedOut { stage: Stage::Connect });
    drop(listener);
    let refused = upstream(&base, patient()).call(chat(false)).await.expect_err("nobody listens");
    assert!(matches!(&refused, Failure::Connect(message) if message.contains("refused")), "{refused}");
}

#[tokio::test]
async fn broken_answers_are_told_apart() {
    let cut = vec![Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")];
    let broken = failure(cut, patient(), chat(false)).await;
    assert!(matches!(broken, Failure::BrokenOff(_)), "{broken}");
    let cut = vec![Act::Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n")];
    let broken = failure(cut, patient(), chat(true)).await;
    assert!(matches!(broken, Failure::BrokenOff(_)), "{broken}");
    let silent = failure(vec![], patient(), chat(false)).await;
    assert!(matches!(silent, Failure::BrokenOff(_)), "{silent}");
    let garbage = failure(vec![Act::Send("SSH-2.0-nothing like HTTP\r\n\r\n")], patient(), chat(false)).await;
    assert!(matches!(garbage, Failure::Garbage(_)), "{garbage}");
}

#[tokio::test]
async fn a_stream_must_be_one() {
    let acts = vec![Act::Send(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 38\r\n\r\n{\"object\":\"error\",\"message\":\"no luck\"}",
    )];
    let failure = failure(acts, patient(), chat(true)).await;
    assert!(matches!(&failure, Failure::Garbage(message) if message.ends_with("no stream came: no luck")), "{failure}");
}

#[tokio::test]
async fn large_answers_are_bounded() {
    let acts = vec![Act::Send("HTTP/1.1 200 OK\r\n\r\n"), Act::Flood(4_000_000)];
    assert_eq!(failure(acts, patient(), chat(false)).await, Failure::TooLarge);
    let (base, _serving) = server(vec![Act::Send("HTTP/1.1 500 Oops\r\n\r\n"), Act::Flood(4_000_000)]).await;
    let failure = upstream(&base, patient()).call(chat(false)).await.expect_err("refused");
    let expected = Failure::Refused { status: 500, message: "x".repeat(500), retry_after_ms: None };
    assert_eq!(failure, expected);
}

#[tokio::test]
async fn refusals_keep_their_words_and_waits() {
    let limited = "HTTP/1.1 429 Slow\r\nretry-after: 1.5\r\ncontent-length: 33\r\n\r\n{\"error\":{\"message\":\"slow down\"}}";
    let expected = Failure::Refused { status: 429, message: "slow down".to_owned(), retry_after_ms: Some(1_500) };
    assert_eq!(refusal(limited).await, expected);
    let refused = refusal("HTTP/1.1 401 No\r\ncontent-length: 14\r\n\r\n{\"detail\":\"x\"}").await;
    assert!(matches!(refused, Failure::Refused { status: 401, .. }) && !refused.is_retryable());
    let silent = refusal("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
    let message = "the upstream answers with status 503 and says nothing more".to_owned();
    assert_eq!(silent, Failure::Refused { status: 503, message, retry_after_ms: None });
    let moved = refusal("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(&moved, Failure::Refused { status: 302, message, .. } if message.contains("redirect")), "{moved}");
}

#[tokio::test]
async fn a_probe_asks_for_the_models() {
    let (base, serving) = server(vec![Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")]).await;
    upstream(&base, patient()).probe().await.expect("alive");
    assert!(serving.await.expect("served").starts_with("GET /v1/models HTTP/1.1\r\n"));
    let (base, _serving) = server(vec![Act::Send("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")]).await;
    assert!(matches!(upstream(&base, patient()).probe().await, Err(Failure::Refused { status: 401, .. })));
}

#[test]
fn secrets_do_not_show() {
    let key = ApiKey::new("sk-secret");
    let of_kind = |key| of_kind(ProviderKind::Openai, "http://127.0.0.1:1/v1", "{}", patient(), &[key]);
    let upstream = of_kind("sk-secret").expect("valid");
    assert!(!format!("{upstream:?} {key:?}").contains("secret"));
    assert!(of_kind("a\nb").is_err());
}

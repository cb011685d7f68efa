//! Both ends of a realtime session, played by the test: the caller, and an upstream that does what the test says.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::server::{ErrorResponse, Request, Response},
        http::StatusCode,
    },
};

/// No wait of a test may hang the suite.
const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a session.
pub struct End {
    socket: WebSocketStream<TcpStream>,
    pub headers: HeaderMap,
    /// Path and query, at an upstream's end.
    pub path: String,
}

impl End {
    pub async fn say(&mut self, event: &Value) {
        self.socket.send(Message::text(event.to_string())).await.expect("the other side listens");
    }

    pub async fn say_raw(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something in time");
        next.and_then(Result::ok)
    }

    /// The next event; `None` when the session has ended.
    pub async fn hear(&mut self) -> Option<Value> {
        loop {
            match self.message().await? {
                Message::Text(text) => return Some(serde_json::from_str(text.as_str()).expect("JSON")),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The next event, which has this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let event = self.hear().await.unwrap_or_else(|| panic!("expected {kind}, and the session ended"));
        assert_eq!(event["type"], json!(kind), "{event}");
        event
    }

    /// The code of the close frame that comes next.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.message().await {
                Some(Message::Close(frame)) => return frame.map_or(1005, |frame| frame.code.into()),
                Some(Message::Text(text)) => panic!("expected the end, got {text}"),
                Some(_) => {}
                None => return 1006,
            }
        }
    }

    /// A good end.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
        while self.message().await.is_some() {}
    }

    /// Answers one `response.create` with words, sound and a usage report.
    pub async fn respond(&mut self, id: &str, usage: &Value) {
        self.expect("response.create").await;
        self.begin(id).await;
        self.done(id, "completed", usage).await;
    }

    pub async fn begin(&mut self, id: &str) {
        self.say(&json!({"type": "response.created", "response": {"id": id, "status": "in_progress", "usage": null}})).await;
        self.say(&json!({"type": "response.output_audio_transcript.delta", "response_id": id, "delta": "hello world"})).await;
        // A tenth of a second: two tokens.
        let sound = "AAAA".repeat(1_600);
        self.say(&json!({"type": "response.output_audio.delta", "response_id": id, "delta": sound})).await;
    }

    pub async fn done(&mut self, id: &str, status: &str, usage: &Value) {
        self.say(&json!({"type": "response.done", "response": {"id": id, "status": status, "usage": usage}})).await;
    }
}

/// An upstream; every session that is opened at it is handed to the test.
pub struct Realtime {
    base_url: String,
    sessions: mpsc::UnboundedReceiver<End>,
}

impl Realtime {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (sender, sessions) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let (mut headers, mut path) = (HeaderMap::new(), String::new());
                    #[expect(clippy::result_large_err, reason = "the crate's own type")]
                    let read = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
                        headers = request.headers().clone();
                        path = request.uri().to_string();
                        if path.contains("model=refused") {
                            let mut refused = ErrorResponse::new(Some(r#"{"error":{"message":"no such model"}}"#.to_owned()));
                            *refused.status_mut() = StatusCode::BAD_REQUEST;
                            return Err(refused);
                        }
                        Ok(response)
                    };
                    if let Ok(socket) = accept_hdr_async(stream, read).await {
                        let _ = sender.send(End { socket, headers, path });
                    }
                });
            }
        });
        Self { base_url, sessions }
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The next session that was opened.
    pub async fn session(&mut self) -> End {
        tokio::time::timeout(PATIENCE, self.sessions.recv()).await.expect("a session in time").expect("an upstream")
    }
}

/// Opens a session at a gateway; a refusal is its status and body.
pub async fn open(base: &str, path: &str, headers: &[(&str, &str)]) -> Result<End, (u16, Value)> {
    let address = base.strip_prefix("http://").expect("an http address");
    let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
    for (name, value) in headers {
        let name: reqwest::header::HeaderName = name.parse().expect("a name");
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let stream = TcpStream::connect(address).await.expect("a connection");
    match client_async(request, stream).await {
        Ok((socket, response)) => Ok(End { socket, headers: response.headers().clone(), path: path.to_owned() }),
        Err(Error::Http(response)) => {
            let body = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or(Value::Null);
            Err((response.status().as_u16(), body))
        }
        Err(error) => panic!("neither a session nor a refusal: {error}"),
    }
}

//! One connection of the load, and the occasional JSON call of the set-up.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    Fallible,
    http1::{BodyReader, framing, head_length, status},
};

pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// Of the last answer.
    pub body: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::with_capacity(4096), body: Vec::with_capacity(1024) })
    }

    /// Sends a whole request and reads the whole answer into `body`; returns its status.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.input.clear();
        self.body.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            if let Some(head) = head_length(&self.input) {
                break head;
            }
            self.fill().await?;
        };
        let status = status(&self.input[..head])?;
        let mut reader = BodyReader::new(framing(&self.input[..head])?);
        self.input.drain(..head);
        loop {
            let used = reader.feed(&self.input, &mut self.body)?;
            self.input.drain(..used);
            if reader.is_done() {
                return Ok(status);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer hung up before the end of its answer")),
            _ => Ok(()),
        }
    }
}

/// The bytes of a request. `headers` are whole lines, each with its `\r\n`.
pub fn request(method: &str, path: &str, key: Option<&str>, headers: &str, body: &str) -> Vec<u8> {
    let authorization = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{authorization}{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The admin API of one server, one call after the other.
pub struct Admin {
    connection: Connection,
    key: String,
}

impl Admin {
    pub async fn open(address: SocketAddr, key: &str) -> Fallible<Self> {
        Ok(Self { connection: Connection::open(address).await?, key: key.to_owned() })
    }

    pub async fn get(&mut self, path: &str) -> Fallible<Value> {
        self.call("GET", path, "", None).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Fallible<Value> {
        self.call("POST", path, "", Some(body)).await
    }

    pub async fn post_once(&mut self, path: &str, idempotency_key: &str, body: &Value) -> Fallible<Value> {
        self.call("POST", path, &format!("idempotency-key: {idempotency_key}\r\n"), Some(body)).await
    }

    async fn call(&mut self, method: &str, path: &str, headers: &str, body: Option<&Value>) -> Fallible<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request(method, path, Some(&self.key), headers, &body);
        let status = self.connection.exchange(&request).await?;
        let answer = String::from_utf8_lossy(&self.connection.body);
        if !(200..300).contains(&status) {
            return Err(format!("{method} {path} answered {status}: {answer}").into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

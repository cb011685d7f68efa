//! A WebSocket to an upstream: text both ways, bounded in size and in time.

use std::{fmt, time::Duration};

use ::http::Request;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

use super::{Failure, Stage, http::Connection};

/// How long an upstream may take to accept one message.
const SEND_PATIENCE: Duration = Duration::from_secs(30);
/// How long the parting words may take; nobody waits for them.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Something an upstream sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    Text(String),
    /// A ping or pong: it lives.
    Sign,
}

/// Belongs to the thread that opened it. Dropping it cuts the connection.
pub struct Socket(WebSocketStream<Connection>);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    pub(super) async fn open(request: Request<()>, connection: Connection, message_bytes_max: usize) -> Result<Self, Error> {
        let config = WebSocketConfig::default().max_message_size(Some(message_bytes_max)).max_frame_size(Some(message_bytes_max));
        let (stream, _) = client_async_with_config(request, connection, Some(config)).await?;
        Ok(Self(stream))
    }

    /// The next thing it says; `None` when it has closed the session in good order. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<Received, Failure>> {
        let message = match self.0.next().await? {
            Ok(message) => message,
            Err(Error::ConnectionClosed) => return None,
            Err(Error::Capacity(_)) => return Some(Err(Failure::TooLarge)),
            Err(Error::Io(error)) => return Some(Err(Failure::BrokenOff(error.to_string()))),
            Err(Error::Protocol(error)) => return Some(Err(Failure::BrokenOff(error.to_string()))),
            Err(error) => return Some(Err(Failure::Garbage(error.to_string()))),
        };
        Some(match message {
            Message::Text(text) => Ok(Received::Text(text.as_str().to_owned())),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(Received::Sign),
            Message::Binary(_) => Err(Failure::Garbage("a realtime event came as bytes".to_owned())),
            Message::Close(_) => return None,
        })
    }

    pub async fn send(&mut self, text: String) -> Result<(), Failure> {
        self.transmit(Message::text(text)).await
    }

    pub async fn ping(&mut self) -> Result<(), Failure> {
        self.transmit(Message::Ping(bytes::Bytes::new())).await
    }

    /// Says goodbye; how that goes matters to nobody.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(CLOSE_PATIENCE, self.0.close(None)).await;
    }

    async fn transmit(&mut self, message: Message) -> Result<(), Failure> {
        match tokio::time::timeout(SEND_PATIENCE, self.0.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::BrokenOff(error.to_string())),
            Err(_) => Err(Failure::TimedOut { stage: Stage::Idle }),
        }
    }
}

//! The opening of a realtime session: a GET that becomes a WebSocket.

use std::time::Duration;

use ::http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use bytes::Bytes;
use http_body_util::Full;
use tokio_tungstenite::tungstenite::{Error, handshake::client::generate_key};

use super::{Shared, bare};
use crate::upstream::{Failure, Socket, SocketCall, Stage, auth::Credential, http::describe, refusal};

impl Shared {
    pub(super) async fn open_socket(&self, call: SocketCall) -> Result<Socket, Failure> {
        let patience = Duration::from_millis(self.target.timeouts.first_byte_ms);
        self.with_keys(call.api_key.as_ref(), patience, async |credential, deadline| {
            let opening = self.open(&call, credential, deadline);
            tokio::time::timeout(deadline, opening).await.unwrap_or(Err(Failure::TimedOut { stage: Stage::FirstByte }))
        })
        .await
    }

    async fn open(&self, call: &SocketCall, credential: &Credential, deadline: Duration) -> Result<Socket, Failure> {
        let uri = self.addresses.realtime(&call.model).map_err(Failure::Connect)?;
        let mut signed = bare(Method::GET, uri.clone(), Full::new(Bytes::new()));
        signed.headers_mut().extend(self.headers.clone());
        if let Some(Ok(betas)) = call.betas.as_deref().map(HeaderValue::from_str) {
            signed.headers_mut().insert("openai-beta", betas);
        }
        if let Ok(id) = HeaderValue::from_str(&call.request_id) {
            signed.headers_mut().insert("x-request-id", id);
        }
        self.authorize(&mut signed, b"", credential, deadline).await?;
        let request = upgrade(&uri, signed)?;
        let connect_timeout = Duration::from_millis(self.target.timeouts.connect_ms);
        let connection = self.client.connect(uri, connect_timeout).await?;
        Socket::open(request, connection, call.message_bytes_max).await.map_err(|error| match error {
            Error::Http(response) => self.refused(&response),
            Error::Io(error) => Failure::BrokenOff(describe(&error)),
            error => Failure::Garbage(format!("no WebSocket was opened: {error}")),
        })
    }

    fn refused(&self, response: &Response<Option<Vec<u8>>>) -> Failure {
        let said = response.body().as_deref().unwrap_or_default();
        refusal::read(self.preset.paths, response.status().as_u16(), response.headers(), said, &self.clock)
    }
}

/// The request that asks for a WebSocket, with the headers of `signed`.
fn upgrade(uri: &Uri, signed: Request<Full<Bytes>>) -> Result<Request<()>, Failure> {
    let unusable = |error: String| Failure::Connect(format!("the address cannot be called: {error}"));
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    let scheme = if uri.scheme_str() == Some("https") { "wss" } else { "ws" };
    parts.scheme = Some(scheme.parse().map_err(|_| unusable(format!("{scheme} is no scheme")))?);
    let (mut head, _) = signed.into_parts();
    head.uri = Uri::from_parts(parts).map_err(|error| unusable(error.to_string()))?;
    let host = HeaderValue::try_from(authority).map_err(|error| unusable(error.to_string()))?;
    let key = HeaderValue::try_from(generate_key()).map_err(|error| unusable(error.to_string()))?;
    let ours = [
        (HOST, host),
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        (SEC_WEBSOCKET_KEY, key),
    ];
    head.headers.extend(ours);
    Ok(Request::from_parts(head, ()))
}

//! Signatures of Amazon (SigV4).

use std::fmt;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::Request;

use crate::clock::Clock;

/// The name under which Bedrock checks signatures.
const SERVICE: &str = "bedrock";

/// An access key and where it is used.
pub struct AwsKey {
    credentials: Credentials,
    region: String,
}

impl fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKey").field("region", &self.region).finish_non_exhaustive()
    }
}

impl AwsKey {
    /// Reads `ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]`.
    pub fn parse(text: &str, region: Option<&str>) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (id, secret, token) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        if id.is_empty() || secret.is_empty() || token.is_some_and(str::is_empty) {
            return Err("the API key must be ACCESS_KEY_ID:SECRET, ACCESS_KEY_ID:SECRET:SESSION_TOKEN or a Bedrock API key".to_owned());
        }
        let region = region.ok_or("the region is missing, and calls cannot be signed without it; give options.region")?;
        let credentials = Credentials::new(id, secret, token.map(str::to_owned), None, "configured");
        Ok(Self { credentials, region: region.to_owned() })
    }

    /// Adds `authorization`, `x-amz-date` and what else the signature needs. It covers all headers that are there, but not those that
    /// proxies change.
    pub fn sign<B>(&self, request: &mut Request<B>, body: &[u8], clock: &Clock) -> Result<(), String> {
        let cannot = |error: &dyn fmt::Display| format!("the call cannot be signed: {error}");
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(clock.wall())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| cannot(&error))?;
        let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let uri = request.uri().to_string();
        let signable = SignableRequest::new(request.method().as_str(), uri.as_str(), headers, SignableBody::Bytes(body))
            .map_err(|error| cannot(&error))?;
        let (instructions, _) = sign(signable, &params.into()).map_err(|error| cannot(&error))?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

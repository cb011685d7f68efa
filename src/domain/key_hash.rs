//! The keyed hash under which API keys are kept: HMAC-SHA256 with a pepper that is not in the database.

use aws_lc_rs::hmac;

use super::api_key::Digest;

/// Hashes keys under one pepper. Clones share it.
#[derive(Clone)]
pub struct KeyHasher(std::sync::Arc<hmac::Key>);

impl KeyHasher {
    pub fn new(pepper: &[u8]) -> Self {
        Self(std::sync::Arc::new(hmac::Key::new(hmac::HMAC_SHA256, pepper)))
    }

    pub fn digest(&self, key: &str) -> Digest {
        let tag = hmac::sign(&self.0, key.as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::KeyHasher;

    #[test]
    fn agrees_with_a_vector_made_elsewhere() {
        let key = format!("px_live_{}0DofJ8", "A".repeat(43));
        let digest = KeyHasher::new(b"pepper-v1-0123456789abcdef01234567").digest(&key);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b1597e2c3ce4b30b31e86c1860dc8f74aa8c4c9b76bc3cc999247b59906ef5bd");
    }
}

//! Signatures on records of deletions, which others can check without being able to make them: Ed25519.

use std::sync::Arc;

use aws_lc_rs::{
    digest::{Context, SHA256},
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// Signs records. Clones share the key.
#[derive(Clone)]
pub struct RecordSigner(Arc<Ed25519KeyPair>);

impl std::fmt::Debug for RecordSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordSigner").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

impl RecordSigner {
    /// The key is derived from the sealing key, so that nodes that share the one share the other. `None` when the cipher refuses it.
    pub fn new(sealing_key: &[u8; 32]) -> Option<Self> {
        let mut seed = Context::new(&SHA256);
        seed.update(b"pixgate record signing key v1\0");
        seed.update(sealing_key);
        Ed25519KeyPair::from_seed_unchecked(seed.finish().as_ref()).ok().map(|pair| Self(Arc::new(pair)))
    }

    /// Base64 of the signature of the bytes of `record`.
    pub fn sign(&self, record: &str) -> String {
        STANDARD.encode(self.0.sign(record.as_bytes()))
    }

    /// Base64 of the 32 bytes that signatures are checked with.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn others_can_check_what_was_signed() {
        let signer = RecordSigner::new(&[7; 32]).unwrap();
        let signature = STANDARD.decode(signer.sign("{}")).unwrap();
        let public = STANDARD.decode(RecordSigner::new(&[7; 32]).unwrap().public_key()).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, public);
        assert!(key.verify(b"{}", &signature).is_ok() && key.verify(b"{ }", &signature).is_err());
    }
}

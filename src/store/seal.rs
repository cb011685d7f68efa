//! Secrets of upstreams at rest: AES-256-GCM under the sealing key, bound to the name they belong to.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::StoreError;

/// Seals and opens secrets. Clones share the key.
#[derive(Clone)]
pub struct Sealer(std::sync::Arc<RandomizedNonceKey>);

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Result<Self, StoreError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| StoreError::Corrupt("the sealing key is not usable".into()))?;
        Ok(Self(std::sync::Arc::new(key)))
    }

    /// Nonce, then ciphertext and tag. `owner` has to be named again to open it, so a sealed secret cannot be moved to another row.
    pub fn seal(&self, owner: &str, secret: &str) -> Result<Vec<u8>, StoreError> {
        let mut text = secret.as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(owner), &mut text)
            .map_err(|_| StoreError::Corrupt("a secret could not be sealed".into()))?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<String, StoreError> {
        let broken = || StoreError::Corrupt(format!("the secret of '{owner}' cannot be opened with this node's sealing key"));
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut text = text.to_vec();
        let open = self.0.open_in_place(nonce, Aad::from(owner), &mut text).map_err(|_| broken())?;
        String::from_utf8(open.to_vec()).map_err(|_| broken())
    }
}

#[cfg(test)]
mod tests {
    use super::Sealer;

    #[test]
    fn opens_only_with_the_same_key_and_owner() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let sealed = sealer.seal("openai", "sk-secret").unwrap();
        assert!(!sealed.windows(9).any(|window| window == b"sk-secret"));
        assert_eq!(sealer.open("openai", &sealed).unwrap(), "sk-secret");
        assert!(sealer.open("other", &sealed).is_err());
        assert!(Sealer::new(&[8; 32]).unwrap().open("openai", &sealed).is_err());
        let mut tampered = sealed;
        *tampered.last_mut().unwrap() ^= 1;
        assert!(sealer.open("openai", &tampered).is_err());
        assert!(sealer.open("openai", &[1, 2]).is_err());
    }
}

//! Secrets and blobs at rest: AES-256-GCM under the sealing key, bound to the name they belong to.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

const TAG_LEN: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealing key is not usable")]
    Key,
    #[error("what belongs to '{0}' could not be sealed")]
    Seal(String),
    #[error("the secret of '{0}' cannot be opened with this node's sealing key")]
    Open(String),
}

/// Seals and opens secrets. Clones share the key.
#[derive(Clone)]
pub struct Sealer(std::sync::Arc<RandomizedNonceKey>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Result<Self, SealError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealError::Key)?;
        Ok(Self(std::sync::Arc::new(key)))
    }

    /// Nonce, then ciphertext and tag. `owner` has to be named again to open it, so a sealed secret cannot be moved to another row.
    pub fn seal(&self, owner: &str, secret: &str) -> Result<Vec<u8>, SealError> {
        self.seal_bytes(owner, secret.as_bytes())
    }

    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<String, SealError> {
        let open = self.open_bytes(owner, sealed.to_vec())?;
        String::from_utf8(open).map_err(|_| SealError::Open(owner.to_owned()))
    }

    /// The same for bytes of any length.
    pub fn seal_bytes(&self, owner: &str, content: &[u8]) -> Result<Vec<u8>, SealError> {
        let broken = || SealError::Seal(owner.to_owned());
        let mut sealed = Vec::with_capacity(NONCE_LEN + content.len() + TAG_LEN);
        sealed.extend_from_slice(&[0; NONCE_LEN]);
        sealed.extend_from_slice(content);
        let (space, text) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(broken)?;
        let (nonce, tag) = self.0.seal_in_place_separate_tag(Aad::from(owner), text).map_err(|_| broken())?;
        space.copy_from_slice(nonce.as_ref());
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    pub fn open_bytes(&self, owner: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let broken = || SealError::Open(owner.to_owned());
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let length = self.0.open_in_place(nonce, Aad::from(owner), text).map_err(|_| broken())?.len();
        sealed.drain(..NONCE_LEN);
        sealed.truncate(length);
        Ok(sealed)
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
        assert!(sealer.open("openai", &[0; 12]).is_err());
    }

    #[test]
    fn bytes_of_any_length_come_back() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        for length in [0, 1, 15, 16, 17, 70_000] {
            let content: Vec<u8> = (0..length).map(|at: usize| (at % 251) as u8).collect();
            let sealed = sealer.seal_bytes("blob", &content).unwrap();
            assert_eq!(sealed.len(), 12 + length + 16);
            assert_eq!(sealer.open_bytes("blob", sealed).unwrap(), content);
        }
    }

    #[test]
    fn the_layout_is_nonce_ciphertext_tag() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        assert_eq!(sealer.open("openai", &sealed_by_hand()).unwrap(), "sk-secret");
    }

    /// Nonce, ciphertext, tag, put together the way the first version did.
    fn sealed_by_hand() -> Vec<u8> {
        use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
        let mut text = b"sk-secret".to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key([3; 12]), Aad::from("openai"), &mut text).unwrap();
        [vec![3; 12], text].concat()
    }
}

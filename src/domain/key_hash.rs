//! The keyed hash under which API keys are kept: HMAC-SHA256 with a pepper that is not in the database. Peppers are replaced now and
//! then; keys hashed under a former one go on working as long as it is known.

use std::sync::Arc;

use aws_lc_rs::hmac;

use super::api_key::Digest;

/// The current pepper and the former ones; every one of them costs a hash per call.
pub const PEPPERS_MAX: usize = 4;

/// The version of a pepper that nobody gave one.
pub const FIRST_VERSION: i32 = 1;

/// Hashes keys under the current pepper and the former ones. Clones share them.
#[derive(Clone)]
pub struct KeyHasher(Arc<Peppers>);

struct Peppers {
    current: Pepper,
    former: Vec<Pepper>,
}

struct Pepper {
    version: i32,
    key: hmac::Key,
}

impl Pepper {
    fn new(version: i32, pepper: &[u8]) -> Self {
        Self { version, key: hmac::Key::new(hmac::HMAC_SHA256, pepper) }
    }

    fn digest(&self, key: &str) -> Digest {
        let tag = hmac::sign(&self.key, key.as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

impl KeyHasher {
    /// With one pepper, of version 1.
    pub fn new(pepper: &[u8]) -> Self {
        Self::with_former(FIRST_VERSION, pepper, std::iter::empty())
    }

    /// With former peppers and their versions, of which those beyond [`PEPPERS_MAX`] are left out.
    pub fn with_former<'a>(version: i32, pepper: &[u8], former: impl Iterator<Item = (i32, &'a [u8])>) -> Self {
        let former = former.take(PEPPERS_MAX - 1).map(|(version, pepper)| Pepper::new(version, pepper)).collect();
        Self(Arc::new(Peppers { current: Pepper::new(version, pepper), former }))
    }

    /// Of the current pepper.
    pub fn version(&self) -> i32 {
        self.0.current.version
    }

    /// Versions of all peppers, the current one first.
    pub fn versions(&self) -> Vec<i32> {
        std::iter::once(&self.0.current).chain(&self.0.former).map(|pepper| pepper.version).collect()
    }

    /// Under the current pepper.
    pub fn digest(&self, key: &str) -> Digest {
        self.0.current.digest(key)
    }

    /// Under every pepper.
    pub fn digests(&self, key: &str) -> Digests {
        let mut all = [[0; 32]; PEPPERS_MAX];
        let peppers = std::iter::once(&self.0.current).chain(&self.0.former);
        for (digest, pepper) in all.iter_mut().zip(peppers) {
            *digest = pepper.digest(key);
        }
        Digests { all, count: 1 + self.0.former.len(), version: self.0.current.version }
    }
}

/// What a presented key may be kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    all: [Digest; PEPPERS_MAX],
    count: usize,
    /// Of the current pepper.
    pub version: i32,
}

impl Digests {
    /// Under the current pepper.
    pub fn current(&self) -> &Digest {
        &self.all[0]
    }

    /// The current one first.
    pub fn all(&self) -> &[Digest] {
        &self.all[..self.count]
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

    #[test]
    fn former_peppers_come_after_the_current_one() {
        let old = KeyHasher::new(b"old");
        let new = KeyHasher::with_former(2, b"new", [(1, b"old".as_slice())].into_iter());
        let digests = new.digests("key");
        assert_eq!(digests.all(), [new.digest("key"), old.digest("key")]);
        assert_eq!((digests.current(), digests.version, new.versions()), (&new.digest("key"), 2, vec![2, 1]));
        assert_eq!(old.digests("key").all().len(), 1);
    }
}

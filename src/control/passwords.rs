//! Passwords at rest: argon2id. Hashing is slow on purpose, so it runs away from the worker threads, a few at a time.

use std::sync::Arc;

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::ControlError;
use crate::actors::detached::compute;

/// Each hash takes 19 MiB while it runs.
const HASHES_AT_ONCE: usize = 4;
/// Hashes that may wait; beyond that callers are refused instead of queued for ever.
const WAITING_MAX: usize = 256;
/// Verified when there is no account or no password, so that both take the same time. A constant, because making one at every start
/// would cost 19 MiB and the time of a sign-in.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzLg$YW5kIG5vIHBhc3N3b3JkIGNhbiBnaXZlIHRoaXMgOik";

/// Hashes and verifies. Clones share the places.
#[derive(Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// What a try at a password came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, but kept under parameters of the past; here is the hash to keep instead.
    RightAndStale(String),
}

impl Default for Passwords {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(HASHES_AT_ONCE)), waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }
}

impl Passwords {
    /// The PHC string to keep.
    pub async fn hash(&self, password: &str) -> Result<String, ControlError> {
        let password = Zeroizing::new(password.as_bytes().to_vec());
        self.run(move || hash_now(&password)).await?
    }

    /// Compares with the kept hash; with none it takes as long and says no.
    pub async fn verify(&self, password: &str, kept: Option<&str>) -> Result<Verdict, ControlError> {
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let (hash, is_somebody) = (kept.unwrap_or(NOBODY).to_owned(), kept.is_some());
        let verdict = self.run(move || verify_now(&password, &hash)).await??;
        Ok(if is_somebody { verdict } else { Verdict::Wrong })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ControlError> {
        let busy = || ControlError::Unavailable("too many sign-ins at the same time; try again in a moment".to_owned());
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let _place = self.places.acquire().await.map_err(|_| busy())?;
        compute(work).await.ok_or_else(|| ControlError::Internal("a password could not be hashed".to_owned()))
    }
}

fn hash_now(password: &[u8]) -> Result<String, ControlError> {
    let hash = Argon2::default().hash_password(password);
    Ok(hash.map_err(|error| ControlError::Internal(format!("argon2: {error}")))?.to_string())
}

fn verify_now(password: &[u8], kept: &str) -> Result<Verdict, ControlError> {
    let broken = |error| ControlError::Internal(format!("a kept password hash is broken: {error}"));
    let hash = PasswordHash::new(kept).map_err(broken)?;
    if Argon2::default().verify_password(password, &hash).is_err() {
        return Ok(Verdict::Wrong);
    }
    let current = argon2::Params::default();
    let is_current = argon2::Params::try_from(&hash)
        .is_ok_and(|kept| (kept.m_cost(), kept.t_cost(), kept.p_cost()) == (current.m_cost(), current.t_cost(), current.p_cost()));
    if is_current { Ok(Verdict::Right) } else { hash_now(password).map(Verdict::RightAndStale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_verified_as_slowly_as_somebody_and_is_nobody() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let kept = argon2::Params::try_from(&nobody).unwrap();
        let current = argon2::Params::default();
        assert_eq!((kept.m_cost(), kept.t_cost(), kept.p_cost()), (current.m_cost(), current.t_cost(), current.p_cost()));
        assert_eq!(nobody.hash.unwrap().as_bytes().len(), 32, "as long as the hashes that are kept");
        let passwords = Passwords::default();
        assert_eq!(passwords.verify("nobody has this password", None).await.unwrap(), Verdict::Wrong);
        let kept = passwords.hash("somebody").await.unwrap();
        assert_eq!(kept.len(), NOBODY.len());
        assert_eq!(passwords.verify("somebody", Some(&kept)).await.unwrap(), Verdict::Right);
        assert_eq!(passwords.verify("Somebody", Some(&kept)).await.unwrap(), Verdict::Wrong);
    }
}

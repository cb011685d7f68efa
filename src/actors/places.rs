//! Places for calls that run at the same time, with a short bounded queue: of one upstream, of one model.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls that may wait for a place.
const WAITING_MAX: u32 = 1_024;

/// All places stayed taken for as long as a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Gives out places; without a limit it only counts them.
pub struct Places {
    permits: Option<Arc<Semaphore>>,
    waiting: AtomicU32,
    taken: Arc<AtomicU32>,
}

/// Given back when dropped.
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    taken: Arc<AtomicU32>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    pub fn new(max: Option<u32>) -> Self {
        Self { permits: max.map(|max| Arc::new(Semaphore::new(max as usize))), waiting: AtomicU32::new(0), taken: Arc::default() }
    }

    /// A place; waits at most `patience` for one.
    pub async fn enter(&self, patience: Duration) -> Result<Place, Busy> {
        let Some(permits) = &self.permits else { return Ok(self.take(None)) };
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(self.take(Some(permit)));
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Busy);
        }
        let _waits = Waits(&self.waiting);
        match tokio::time::timeout(patience, permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(self.take(Some(permit))),
            _ => Err(Busy),
        }
    }

    fn take(&self, permit: Option<OwnedSemaphorePermit>) -> Place {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place { _permit: permit, taken: self.taken.clone() }
    }

    /// Calls that run now.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// One who waits, also when the wait is given up.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn places_are_bounded_counted_and_given_back() {
        let places = Places::new(Some(1));
        let place = places.enter(Duration::ZERO).await.expect("free");
        assert_eq!((places.enter(Duration::ZERO).await.err(), places.taken()), (Some(Busy), 1));
        drop(place);
        assert_eq!(places.taken(), 0);
        assert!(places.enter(Duration::ZERO).await.is_ok());
        let open = Places::new(None);
        let many = [open.enter(Duration::ZERO).await, open.enter(Duration::ZERO).await];
        assert_eq!(open.taken(), 2);
        drop(many);
        assert_eq!(open.taken(), 0);
    }
}

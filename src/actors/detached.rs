//! Work that must outlive whoever asked for it, and work that would block its thread. The only spawning outside actors themselves.

use std::future::Future;

/// Runs a future on this thread to its end, whether or not anybody waits for it.
#[expect(clippy::disallowed_methods, reason = "a paid call must settle although its client is gone")]
pub fn run_to_end<F: Future + 'static>(future: F) -> impl Future<Output = Option<F::Output>>
where
    F::Output: 'static,
{
    let task = actix::spawn(future);
    async move { task.await.ok() }
}

/// Starts `work` on the blocking pool at once; `None` when it panicked.
#[expect(clippy::disallowed_methods, reason = "long computations must not stop a worker thread with all its actors")]
pub fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = Option<T>> {
    let task = tokio::task::spawn_blocking(work);
    async move { task.await.ok() }
}

//! Work that ends although whoever asked for it left: actix-web drops a handler when its caller hangs up.

use std::future::Future;

/// The work panicked; what it had done by then stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work failed half-way")]
pub struct Lost;

/// Runs `work` on the current thread to its end, also when the returned future is dropped before. For writes that others have to
/// be told of: a revoked key must not stay in an actor's memory because the caller did not wait for the answer.
#[expect(clippy::disallowed_methods, reason = "the work has to outlive its caller, and there is no state of an actor's in it")]
pub async fn to_the_end<T: 'static>(work: impl Future<Output = T> + 'static) -> Result<T, Lost> {
    actix::spawn(work).await.map_err(|_| Lost)
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};
    use tokio::sync::oneshot;

    use super::*;

    #[actix::test]
    async fn work_goes_on_when_its_caller_is_gone() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let work = async move {
            let _ = gone.await;
            let _ = done.send(7);
        };
        let mut caller = to_the_end(work).boxed_local();
        assert!(poll!(&mut caller).is_pending());
        drop(caller);
        go.send(()).unwrap();
        assert_eq!(ended.await, Ok(7));
    }

    #[actix::test]
    async fn a_panic_is_an_error_for_the_caller() {
        assert_eq!(to_the_end(async { panic!("on purpose") }).await, Err::<(), _>(Lost));
    }
}

//! From what is configured to something that answers calls: the providers of one worker thread.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, ready};
use http::{Request, Response};

use super::{Answer, Call, Echo, ExchangeLimits, Failure, HttpClient, HttpProvider, Provider, Target, document, exchange::exchange};
use crate::{clock::Clock, domain::catalog::ProviderKind};

/// Makes and keeps the providers of one thread. Clones share them.
#[derive(Clone)]
pub struct Connector {
    clock: Clock,
    client: HttpClient,
    providers: Rc<RefCell<HashMap<String, Made>>>,
}

/// A provider and the target it was made for.
type Made = (Arc<Target>, Rc<dyn Provider>);

impl Connector {
    /// Fails only when the TLS library cannot be set up.
    pub fn new(clock: Clock) -> Result<Self, String> {
        Ok(Self { client: HttpClient::new(clock.clone())?, clock, providers: Rc::default() })
    }

    pub fn provider(&self, target: &Arc<Target>) -> Rc<dyn Provider> {
        let mut providers = self.providers.borrow_mut();
        if let Some((made_for, provider)) = providers.get(&target.name)
            && Arc::ptr_eq(made_for, target)
        {
            return provider.clone();
        }
        let provider = self.make(target);
        providers.insert(target.name.clone(), (target.clone(), provider.clone()));
        provider
    }

    /// Fetches a small JSON document from an address that the operator has set.
    pub async fn document(&self, url: &str, bytes_max: usize) -> Result<Bytes, Failure> {
        document::fetch(&self.client, url, bytes_max).await
    }

    /// One request to a server that the operator has set, with its whole answer of whatever status.
    pub async fn exchange(&self, request: Request<Bytes>, limits: ExchangeLimits) -> Result<Response<Bytes>, Failure> {
        exchange(&self.client, request, limits).await
    }

    fn make(&self, target: &Arc<Target>) -> Rc<dyn Provider> {
        match target.provider {
            ProviderKind::Echo => Rc::new(Echo::new(self.clock.clone(), target.timeouts)),
            _ => match HttpProvider::new(&self.client, target) {
                Ok(provider) => Rc::new(provider),
                Err(error) => Rc::new(Misconfigured(error)),
            },
        }
    }
}

/// Stands for an upstream that cannot be called; says why at every call.
struct Misconfigured(String);

impl Provider for Misconfigured {
    fn call(&self, _: Call) -> LocalBoxFuture<'static, Result<Answer, Failure>> {
        Box::pin(ready(Err(Failure::Connect(self.0.clone()))))
    }

    fn probe(&self) -> LocalBoxFuture<'static, Result<u64, Failure>> {
        Box::pin(ready(Err(Failure::Connect(self.0.clone()))))
    }
}

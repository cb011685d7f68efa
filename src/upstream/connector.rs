//! From what is configured to something that answers calls: the providers of one worker thread.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use futures_util::future::{LocalBoxFuture, ready};

use super::{Answer, ApiKey, Call, Echo, Failure, HttpClient, OpenAi, Provider};
use crate::{
    clock::Clock,
    dialect::{Endpoint, format::Quirks},
    domain::catalog::{ProviderKind, Timeouts},
};

/// An upstream as calls need it. A change of configuration is a new target.
#[derive(Debug)]
pub struct Target {
    pub name: String,
    pub provider: ProviderKind,
    /// Formats it is called in; see `dialect::plan`.
    pub speaks: &'static [Endpoint],
    pub quirks: Quirks,
    pub base_url: String,
    pub api_key: ApiKey,
    pub timeouts: Timeouts,
}

/// Formats that servers of OpenAI's dialect are called in.
const OPENAI: &[Endpoint] = &[
    Endpoint::ChatCompletions,
    Endpoint::Completions,
    Endpoint::Embeddings,
    Endpoint::Moderations,
    Endpoint::Rerank,
    Endpoint::ImageGenerations,
    Endpoint::ImageEdits,
    Endpoint::Speech,
    Endpoint::Transcriptions,
    Endpoint::Translations,
];

/// Formats of the built-in upstream.
const ECHO: &[Endpoint] = &[Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings];

/// Formats that an upstream of this kind is called in.
fn speaks(provider: ProviderKind) -> &'static [Endpoint] {
    match provider {
        ProviderKind::Openai => OPENAI,
        ProviderKind::Echo => ECHO,
    }
}

impl Target {
    /// A target with what its kind of provider is known to speak and need.
    pub fn new(name: String, provider: ProviderKind, base_url: String, api_key: ApiKey, timeouts: Timeouts) -> Self {
        Self { speaks: speaks(provider), quirks: Quirks::default(), name, provider, base_url, api_key, timeouts }
    }
}

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

    fn make(&self, target: &Target) -> Rc<dyn Provider> {
        match target.provider {
            ProviderKind::Echo => Rc::new(Echo::new(self.clock.clone(), target.timeouts)),
            ProviderKind::Openai => match OpenAi::new(&self.client, &target.base_url, &target.api_key, target.timeouts, target.speaks) {
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

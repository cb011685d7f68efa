//! Screening: what a caller sends is looked at before anything is held or any upstream hears of it.
//!
//! Without rules this costs one atomic load. With rules, the texts of the call are matched (large ones away from the worker thread), then
//! the hits decide in their order: an exemption takes one out, `allow` ends the matter, `block` refuses, `flag` is kept. Who calls is
//! asked only when something was hit. A moderation model costs the operator, so a call has to be admitted before one is asked.

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use super::{CallError, Incoming, Pipeline, moderation};
use crate::{
    actors::{account::Identity, detached, directory::Presented, screening::Screens},
    dialect::{
        Endpoint, Invalid,
        texts::{self, CallerTexts},
    },
    domain::{
        refusal::Refusal,
        screening::{Action, Overrun, Rule, Subject},
    },
    store::{self, screening::Hit},
};

/// Larger bodies are looked at away from the worker thread.
const INLINE_BYTES_MAX: usize = 64 * 1024;
const EXCERPT_CHARS: usize = 120;
/// Stands in a hit when no rule is to blame.
const OVERRUN_NAME: &str = "limit of screening work";

/// How calls are screened.
#[derive(Debug, Clone, Copy)]
pub struct ScreeningPolicy {
    /// Bytes that all rules together may look at in one call.
    pub work_bytes_max: u64,
    /// Whether a call that would need more is refused.
    pub overrun_blocks: bool,
    pub keep_excerpts: bool,
    /// For one verdict of a moderation model.
    pub moderation_timeout: std::time::Duration,
    /// Longest text that a moderation model is given.
    pub moderation_bytes_max: usize,
}

/// What is looked at, beside its texts: a call, or an event of a realtime session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub endpoint: Endpoint,
    /// The catalogue's id.
    pub model: &'a str,
    pub request_id: &'a str,
    pub presented: &'a Presented,
}

impl<'a> Said<'a> {
    /// `model` is the catalogue's id.
    pub fn in_call(incoming: &'a Incoming, model: &'a str) -> Self {
        Self { endpoint: incoming.head.endpoint, model, request_id: &incoming.request_id, presented: &incoming.presented }
    }
}

/// Refuses a call that a rule blocks; what is left for a moderation model to decide is given back.
pub(super) async fn screen_call(pipeline: &Rc<Pipeline>, incoming: &Incoming, model: &str) -> Result<Option<Undecided>, CallError> {
    let Incoming { head, body, .. } = incoming;
    screen(pipeline, Said::in_call(incoming, model), body.len(), || {
        let (head, body) = (head.clone(), body.clone());
        move || texts::of_call(&head, &body)
    })
    .await
}

/// Refuses an event of a realtime session that a rule blocks. Speech is no text.
pub(super) async fn screen_event(pipeline: &Rc<Pipeline>, event: &str, said: Said<'_>) -> Result<(), CallError> {
    let undecided = screen(pipeline, said, event.len(), || {
        let event = event.to_owned();
        move || texts::of_json(event.as_bytes())
    });
    match undecided.await? {
        Some(undecided) => undecided.decide(pipeline, said).await,
        None => Ok(()),
    }
}

/// `copy` is only asked for when there are rules; what it gives collects the texts, maybe on another thread.
async fn screen<C>(pipeline: &Rc<Pipeline>, said: Said<'_>, bytes: usize, copy: impl FnOnce() -> C) -> Result<Option<Undecided>, CallError>
where
    C: FnOnce() -> Result<CallerTexts, Invalid> + Send + 'static,
{
    let screens = pipeline.screening.screens();
    // Whoever asks whether a text is harmful has to be able to send it.
    if screens.rules.is_empty() || said.endpoint == Endpoint::Moderations {
        return Ok(None);
    }
    let screens = Arc::clone(&screens);
    let Found { texts, hits } = look(pipeline, said, bytes, copy(), &screens).await?;
    let Ok(hits) = hits else { return overrun(pipeline, said).await.map(|()| None) };
    let moderations = screens.rules.moderations(said.model, said.endpoint.label());
    if hits.is_empty() && moderations.is_empty() {
        return Ok(None);
    }
    let caller = pipeline.accounts.authenticate(said.presented).await?;
    let mut order: Vec<usize> = hits.iter().chain(&moderations).copied().collect();
    order.sort_unstable();
    Undecided { screens, texts, caller, hits, moderations, order: order.into() }.go_on(pipeline, said)
}

/// The texts of a call and the rules that hit them.
struct Found {
    texts: CallerTexts,
    hits: Result<Vec<usize>, Overrun>,
}

async fn look<C>(pipeline: &Pipeline, said: Said<'_>, bytes: usize, collect: C, screens: &Arc<Screens>) -> Result<Found, Refusal>
where
    C: FnOnce() -> Result<CallerTexts, Invalid> + Send + 'static,
{
    let (screens, model, endpoint) = (screens.clone(), said.model.to_owned(), said.endpoint.label());
    let work_bytes_max = pipeline.policy.screening.work_bytes_max;
    let work = move || {
        let texts = collect()?;
        let subject = Subject { text: &texts.text, bytes: texts.bytes, messages: texts.messages, model: &model, endpoint };
        let hits = screens.rules.matches(&subject, work_bytes_max);
        Ok::<_, Refusal>(Found { hits, texts })
    };
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    let found = detached::compute(work).await;
    found.unwrap_or(Err(Refusal::Overloaded { what: "the request could not be screened", retry_after_ms: 1_000 }))
}

/// More work than allowed: whatever the rules would have said, nobody knows it.
async fn overrun(pipeline: &Rc<Pipeline>, said: Said<'_>) -> Result<(), CallError> {
    let caller = pipeline.accounts.authenticate(said.presented).await?;
    let blocks = pipeline.policy.screening.overrun_blocks;
    let action = if blocks { Action::Block } else { Action::Flag };
    pipeline.screening.record(hit(pipeline, said, &caller, action, ("", OVERRUN_NAME)));
    if blocks { Err(Refusal::NotScreened.into()) } else { Ok(()) }
}

fn hit(pipeline: &Pipeline, said: Said<'_>, caller: &Identity, action: Action, (id, name): (&str, &str)) -> Hit {
    Hit {
        id: pipeline.clock.new_id("sch"),
        request_id: said.request_id.to_owned(),
        account_id: caller.account_id.clone(),
        key_id: caller.key.id.clone(),
        rule_id: id.to_owned(),
        rule_name: name.to_owned(),
        action,
        model: said.model.to_owned(),
        endpoint: said.endpoint.path().to_owned(),
        sealed_excerpt: None,
        created_at: pipeline.clock.now(),
        release: None,
    }
}

/// A call that was hit, or that a moderation model is to look at.
pub(super) struct Undecided {
    screens: Arc<Screens>,
    texts: CallerTexts,
    caller: Identity,
    hits: Vec<usize>,
    moderations: Vec<usize>,
    /// Of both, what has not decided yet.
    order: VecDeque<usize>,
}

enum Decided {
    Nothing,
    /// Whatever the other rules say.
    Allowed,
}

impl Undecided {
    /// Asks the moderation models whose turn comes, and refuses what a rule blocks.
    pub async fn decide(self, pipeline: &Rc<Pipeline>, said: Said<'_>) -> Result<(), CallError> {
        let mut left = Some(self);
        while let Some(mut undecided) = left {
            let Some(index) = undecided.order.pop_front() else { return Ok(()) };
            if let Some(rule) = undecided.screens.rules.rule(index)
                && moderation::objects(pipeline, said.request_id, rule, &undecided.texts).await
                && let Decided::Allowed = undecided.act(pipeline, said, index, rule)?
            {
                return Ok(());
            }
            left = undecided.go_on(pipeline, said)?;
        }
        Ok(())
    }

    /// Goes through the rules up to the first that asks a model; `None` when all is said.
    fn go_on(mut self, pipeline: &Pipeline, said: Said<'_>) -> Result<Option<Self>, CallError> {
        while let Some(&index) = self.order.front() {
            if let Some(rule) = self.screens.rules.rule(index)
                && !self.screens.is_exempt(&self.caller.account_id, &rule.id)
            {
                if self.moderations.contains(&index) {
                    return Ok(Some(self));
                }
                if let Decided::Allowed = self.act(pipeline, said, index, rule)? {
                    return Ok(None);
                }
            }
            self.order.pop_front();
        }
        Ok(None)
    }

    fn act(&self, pipeline: &Pipeline, said: Said<'_>, index: usize, rule: &Rule) -> Result<Decided, CallError> {
        match rule.action {
            Action::Flag => self.record(pipeline, said, index, rule),
            Action::Block => {
                self.record(pipeline, said, index, rule);
                return Err(Refusal::ContentScreened { rule: rule.name.clone() }.into());
            }
            Action::Allow => {
                // Kept only where it made a difference, or every harmless call would leave a row.
                if self.order.iter().any(|&other| other != index && self.hits.contains(&other)) {
                    self.record(pipeline, said, index, rule);
                }
                return Ok(Decided::Allowed);
            }
        }
        Ok(Decided::Nothing)
    }

    fn record(&self, pipeline: &Pipeline, said: Said<'_>, index: usize, rule: &Rule) {
        let mut hit = hit(pipeline, said, &self.caller, rule.action, (&rule.id, &rule.name));
        if pipeline.policy.screening.keep_excerpts
            && let Some(excerpt) = self.screens.rules.excerpt(index, &self.texts.text, EXCERPT_CHARS)
        {
            match store::screening::seal_excerpt(&pipeline.sealer, &hit.id, &excerpt) {
                Ok(sealed) => hit.sealed_excerpt = Some(sealed),
                Err(error) => tracing::error!(error = %error, hit.id = %hit.id, "an excerpt could not be sealed and is not kept"),
            }
        }
        pipeline.screening.record(hit);
    }
}

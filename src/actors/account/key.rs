//! One key of an active account: its record, its limiters and what is left of its budget.

use std::{net::IpAddr, sync::Arc};

use super::limits::Limiters;
use crate::{
    clock::Clock,
    domain::{
        Micros, Timestamp,
        api_key::{ApiKey, Scope},
        refusal::{LimitScope, Refusal},
    },
};

pub(super) struct Key {
    /// `record.id`, shared with every open call.
    pub id: Arc<str>,
    pub record: ApiKey,
    pub limiters: Limiters,
    /// Spent in the budget's current period.
    budget_spent: Micros,
    /// Held by open calls.
    budget_held: Micros,
    budget_since: Timestamp,
    /// When the use of this key was last noted in the store.
    pub noted_at: Timestamp,
    /// Its digest under the current pepper is being written.
    pub rehashing: bool,
}

/// What a restart or activation has to know about a key's past.
pub(super) struct History {
    /// Spent since the start of its budget period.
    pub spent: Micros,
    /// Requests of the last 24 hours.
    pub requests_today: u32,
}

impl Key {
    pub fn new(record: ApiKey, history: &History, clock: &Clock) -> Self {
        let mut limiters = Limiters::new(LimitScope::Key, record.limits, clock);
        limiters.count_earlier_today(history.requests_today);
        let budget_since = record.budget.map_or(0, |budget| budget.period.started_at(clock.now()));
        Self {
            id: record.id.as_str().into(),
            limiters,
            budget_spent: history.spent,
            budget_held: 0,
            budget_since,
            noted_at: record.last_used_at.unwrap_or(0),
            rehashing: false,
            record,
        }
    }

    /// Takes over a changed record; limiters whose limits stayed keep their state, and so does what calls hold of the budget.
    pub fn adopt(&mut self, record: ApiKey, history: &History, clock: &Clock) {
        self.limiters.adopt(record.limits, clock);
        let period = |record: &ApiKey| record.budget.map(|budget| budget.period);
        // What is counted here is newer than what the store knows, unless it was counted for another period.
        if period(&record) != period(&self.record) {
            self.budget_since = record.budget.map_or(0, |budget| budget.period.started_at(clock.now()));
            self.budget_spent = history.spent;
        }
        self.record = record;
    }

    /// Everything a key can say no to without looking at amounts.
    pub fn check(&self, scope: Scope, ip: Option<IpAddr>, now: Timestamp) -> Result<(), Refusal> {
        if !self.record.is_live(now) {
            return Err(Refusal::InvalidKey("this API key is not valid any more; use another key of the account"));
        }
        if let Some(ip) = ip
            && !self.record.allows_ip(ip)
        {
            return Err(Refusal::IpNotAllowed(ip.to_canonical().to_string()));
        }
        if !self.record.has_scope(scope) {
            return Err(Refusal::ScopeMissing(scope.as_str()));
        }
        Ok(())
    }

    /// Sets `amount` of the budget aside.
    pub fn hold_budget(&mut self, amount: Micros, now: Timestamp) -> Result<(), Refusal> {
        self.roll_budget(now);
        if let Some(budget) = self.record.budget {
            let left = (budget.micros - self.budget_spent - self.budget_held).max(0);
            if amount > left || left == 0 {
                return Err(Refusal::BudgetExhausted { needed: amount, left, budget: budget.micros, period: budget.period.as_str() });
            }
        }
        // Counted without a budget, too: one may be set while the call runs.
        self.budget_held += amount;
        Ok(())
    }

    /// Turns what was held into what was spent. A call counts in the period it ends in.
    pub fn settle_budget(&mut self, held: Micros, spent: Micros, now: Timestamp) {
        self.roll_budget(now);
        self.budget_held = (self.budget_held - held).max(0);
        self.budget_spent += spent;
    }

    /// Takes back what was spent for nothing.
    pub fn refund_budget(&mut self, spent: Micros) {
        self.budget_spent = (self.budget_spent - spent).max(0);
    }

    /// Spent in the current period, and left of the budget when there is one.
    pub fn budget_state(&mut self, now: Timestamp) -> (Micros, Option<Micros>) {
        self.roll_budget(now);
        let left = self.record.budget.map(|budget| (budget.micros - self.budget_spent - self.budget_held).max(0));
        (self.budget_spent, left)
    }

    fn roll_budget(&mut self, now: Timestamp) {
        let since = self.record.budget.map_or(0, |budget| budget.period.started_at(now));
        if since > self.budget_since {
            self.budget_since = since;
            self.budget_spent = 0;
        }
    }
}
